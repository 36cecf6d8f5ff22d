/**
 * The SQL editor, loaded when the view is opened.
 *
 * It stands in a shadow root: there its styles are constructed style sheets, which the content security policy
 * allows, and not style elements, which it forbids.
 */

import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap } from "@codemirror/autocomplete";
import type { CompletionContext, CompletionResult } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { PostgreSQL, sql } from "@codemirror/lang-sql";
import { HighlightStyle, bracketMatching, syntaxHighlighting, syntaxTree } from "@codemirror/language";
import { Compartment, EditorState, Prec, StateEffect, StateField } from "@codemirror/state";
import { Decoration, EditorView, WidgetType, keymap, lineNumbers, placeholder } from "@codemirror/view";
import type { DecorationSet } from "@codemirror/view";
import { tags } from "@lezer/highlight";

import { el } from "../base/dom.ts";
import type { Table } from "./api.ts";
import { typeWord } from "./columns.ts";

interface Mistake {
  line: number;
  column: number;
  message: string;
}

export interface Hooks {
  onRun(): void;
  onChange(text: string): void;
  symbols(): string[];
}

const PLACEHOLDER = "SELECT * FROM bars WHERE timeframe = '1d' ORDER BY open_time DESC LIMIT 100";

export class Editor {
  readonly #view: EditorView;
  readonly #language = new Compartment();
  readonly #editable = new Compartment();
  readonly #hooks: Hooks;
  #setting = false;

  constructor(host: HTMLElement, text: string, hooks: Hooks) {
    this.#hooks = hooks;
    const root = host.attachShadow({ mode: "open" });
    // What is typed here is text, not one of the page's keys, whose listener sees only the host.
    host.addEventListener("keydown", (event) => event.stopPropagation());
    this.#view = new EditorView({
      root,
      parent: root,
      state: EditorState.create({
        doc: text,
        extensions: [
          Prec.highest(keymap.of([{ key: "Mod-Enter", run: () => (hooks.onRun(), true) }])),
          lineNumbers(),
          history(),
          bracketMatching(),
          closeBrackets(),
          autocompletion({ icons: false }),
          keymap.of([...closeBracketsKeymap, ...completionKeymap, ...historyKeymap, ...defaultKeymap]),
          this.#language.of(this.#languageOf([])),
          this.#editable.of([]),
          syntaxHighlighting(HIGHLIGHT),
          mistakes,
          placeholder(PLACEHOLDER),
          EditorView.lineWrapping,
          EditorView.contentAttributes.of({ "aria-label": "SQL query", spellcheck: "false", autocorrect: "off", autocapitalize: "off" }),
          EditorView.updateListener.of((update) => {
            if (update.docChanged && !this.#setting) hooks.onChange(this.text);
          }),
          THEME,
        ],
      }),
    });
  }

  get text(): string {
    return this.#view.state.doc.toString();
  }

  set(text: string, editable: boolean): void {
    this.#setting = true;
    if (text !== this.text) this.#view.dispatch({ changes: { from: 0, to: this.#view.state.doc.length, insert: text } });
    this.#view.dispatch({ effects: [this.#editable.reconfigure(editable ? [] : [EditorState.readOnly.of(true)]), show.of(null)] });
    this.#setting = false;
  }

  focus(): void {
    this.#view.focus();
  }

  /** Put a word in where the cursor stands. */
  insert(word: string): void {
    this.#view.dispatch(this.#view.state.replaceSelection(word));
    this.focus();
  }

  learn(tables: readonly Table[]): void {
    this.#view.dispatch({ effects: this.#language.reconfigure(this.#languageOf(tables)) });
  }

  /** Say what is wrong under its place; null: nothing is. */
  point(mistake: Mistake | null): void {
    this.#view.dispatch({ effects: show.of(mistake) });
    if (!mistake || mistake.line > this.#view.state.doc.lines) return;
    const line = this.#view.state.doc.line(mistake.line);
    this.#view.dispatch({ selection: { anchor: Math.min(line.to, line.from + mistake.column - 1) }, scrollIntoView: true });
  }

  #languageOf(tables: readonly Table[]): ReturnType<typeof sql>[] {
    const schema = Object.fromEntries(
      tables.map(({ name, columns }) => [name, columns.map((c) => ({ label: c.name, detail: typeWord(c.type), type: "property" }))]),
    );
    const support = sql({ dialect: PostgreSQL, upperCaseKeywords: true, schema });
    return [support, PostgreSQL.language.data.of({ autocomplete: (context: CompletionContext) => this.#symbols(context) }) as never];
  }

  /** Symbols, between quotes. */
  #symbols(context: CompletionContext): CompletionResult | null {
    const node = syntaxTree(context.state).resolveInner(context.pos, -1);
    if (node.name !== "String") return null;
    return { from: node.from + 1, options: this.#hooks.symbols().map((label) => ({ label, type: "text" })), validFor: /^[\w.\-/]*$/ };
  }
}

const show = StateEffect.define<Mistake | null>();

const mistakes = StateField.define<DecorationSet>({
  create: () => Decoration.none,
  update(now, transaction) {
    for (const effect of transaction.effects) {
      if (!effect.is(show)) continue;
      const mistake = effect.value;
      const doc = transaction.state.doc;
      if (!mistake || mistake.line > doc.lines) return Decoration.none;
      const line = doc.line(mistake.line);
      const at = Math.min(line.to, line.from + mistake.column - 1);
      const word = /^[\w$]+|^./.exec(doc.sliceString(at, line.to))?.[0] ?? "";
      const said = Decoration.widget({ widget: new Said(mistake), block: true, side: 1 }).range(line.to);
      return word ? Decoration.set([Decoration.mark({ class: "wrong" }).range(at, at + word.length), said], true) : Decoration.set([said]);
    }
    return transaction.docChanged ? Decoration.none : now;
  },
  provide: (field) => EditorView.decorations.from(field),
});

/** The message under the line. */
class Said extends WidgetType {
  constructor(private readonly mistake: Mistake) {
    super();
  }

  override eq(other: Said): boolean {
    return other.mistake.message === this.mistake.message && other.mistake.column === this.mistake.column;
  }

  toDOM(): HTMLElement {
    const node = el("div", { class: "said" }, el("span", { "aria-hidden": "true" }, "▲"), el("p", {}, this.mistake.message));
    node.style.setProperty("--column", String(Math.min(60, this.mistake.column - 1)));
    return node;
  }
}

const HIGHLIGHT = HighlightStyle.define([
  { tag: [tags.keyword, tags.operatorKeyword], color: "var(--sql-keyword)", fontWeight: "600" },
  { tag: [tags.string, tags.special(tags.string)], color: "var(--sql-string)" },
  { tag: [tags.number, tags.bool, tags.null], color: "var(--sql-number)" },
  { tag: [tags.comment], color: "var(--text-faint)", fontStyle: "italic" },
  { tag: [tags.typeName, tags.standard(tags.name)], color: "var(--sql-type)" },
  { tag: [tags.operator, tags.punctuation, tags.paren], color: "var(--text-soft)" },
]);

const MONO = 'ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace';

const THEME = EditorView.theme({
  "&": { height: "100%", color: "var(--text)", fontSize: "var(--text-3)", backgroundColor: "transparent" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: MONO, lineHeight: "1.6", overflow: "auto", scrollbarWidth: "thin", scrollbarColor: "var(--line-strong) transparent" },
  ".cm-content": { padding: "0.5rem 0", caretColor: "var(--accent)" },
  ".cm-line": { padding: "0 0.75rem 0 0.5rem" },
  ".cm-gutters": { backgroundColor: "transparent", border: "0", color: "var(--text-faint)" },
  ".cm-lineNumbers .cm-gutterElement": { padding: "0 0.25rem 0 0.75rem", minWidth: "2rem" },
  ".cm-placeholder": { color: "var(--text-faint)" },
  "&.cm-focused .cm-matchingBracket, .cm-matchingBracket": { backgroundColor: "var(--accent-soft)", outline: "1px solid var(--accent)" },
  ".wrong": { textDecoration: "underline wavy var(--warn)", textUnderlineOffset: "0.2em" },
  ".said": { paddingLeft: "calc(0.5rem + var(--column) * 1ch)", color: "var(--warn)", fontFamily: "var(--font)" },
  ".said span": { display: "block", fontSize: "0.6rem", lineHeight: "1", fontFamily: MONO },
  ".said p": { margin: "0", paddingBottom: "0.25rem", whiteSpace: "pre-wrap", overflowWrap: "anywhere" },
  ".cm-tooltip": { zIndex: "30", border: "1px solid var(--line-strong)", borderRadius: "var(--radius-2)", backgroundColor: "var(--panel)", color: "var(--text)", boxShadow: "var(--shadow)", overflow: "hidden" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul": { fontFamily: MONO, maxHeight: "14rem" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li": { padding: "0.1875rem 0.625rem" },
  ".cm-tooltip-autocomplete ul li[aria-selected]": { backgroundColor: "var(--accent)", color: "var(--on-accent)" },
  ".cm-completionDetail": { marginLeft: "0.75rem", color: "var(--text-faint)", fontStyle: "normal", fontFamily: "var(--font)" },
  "li[aria-selected] .cm-completionDetail": { color: "inherit" },
});
