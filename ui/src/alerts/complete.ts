/** Which words may stand where the cursor is, in an expression of the rule language. Pure. */

export interface Word {
  name: string;
  /** What is written when it is taken. */
  text: string;
  meaning: string;
}

export interface Language {
  columns: { name: string; meaning: string }[];
  functions: { name: string; form: string; meaning: string }[];
  words: string[];
  timeframes: string[];
  usual_timeframe: string;
  severities: string[];
  message: string;
  message_names: string[];
  text_max: number;
  examples: { title: string; expression: string }[];
}

export interface Completion {
  /** From where to where the text is replaced. */
  from: number;
  to: number;
  words: Word[];
}

const MOST = 8;
const NOTHING: Completion = { from: 0, to: 0, words: [] };

/** Words for what is written before the cursor; none within a number, or after a whole word that has no longer one. */
export function complete(text: string, cursor: number, language: Language, always = false): Completion {
  const before = text.slice(0, cursor);
  const at = /@([0-9a-z]*)$/i.exec(before);
  if (at) {
    const typed = at[1]!.toLowerCase();
    const words = language.timeframes.filter((t) => t.startsWith(typed) && t !== typed);
    return { from: cursor - typed.length, to: cursor, words: words.slice(0, MOST).map((t) => ({ name: t, text: t, meaning: "timeframe" })) };
  }
  const typed = (/(?:^|[^\w.])([a-z_]\w*)$/i.exec(before)?.[1] ?? "").toLowerCase();
  if (!typed && !always) return NOTHING;
  const all: Word[] = [
    ...language.columns.map((c) => ({ name: c.name, text: c.name, meaning: c.meaning })),
    ...language.functions.map((f) => ({ name: f.form, text: `${f.name}(`, meaning: f.meaning })),
    ...language.words.map((w) => ({ name: w, text: `${w} `, meaning: "" })),
  ];
  const starts = all.filter((w) => w.text.startsWith(typed));
  const holds = typed.length > 1 ? all.filter((w) => !w.text.startsWith(typed) && w.text.includes(typed)) : [];
  const words = [...starts, ...holds].filter((w) => w.text.trim() !== typed).slice(0, MOST);
  const after = /^\w*/.exec(text.slice(cursor))![0].length;
  return { from: cursor - typed.length, to: cursor + after, words };
}

export function apply(text: string, completion: Completion, word: Word): { text: string; cursor: number } {
  const cursor = completion.from + word.text.length;
  return { text: text.slice(0, completion.from) + word.text + text.slice(completion.to), cursor };
}
