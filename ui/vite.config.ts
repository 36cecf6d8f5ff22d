import { existsSync, readFileSync } from "node:fs";
import { defineConfig } from "vite";
import type { Plugin } from "vite";

// `npm run dev` shows the pages with the data of a `marketpulse serve` on its default port.
const server = "http://127.0.0.1:8080";

const EDITOR = [
  "@codemirror/autocomplete", "@codemirror/commands", "@codemirror/lang-sql", "@codemirror/language", "@codemirror/state",
  "@codemirror/view", "@lezer/common", "@lezer/highlight", "@lezer/lr", "@marijn/find-cluster-break", "crelt", "style-mod",
  "w3c-keyname",
];
const SHIPPED = ["lightweight-charts", "fancy-canvas", ...EDITOR];

/** licences.txt beside the page: what the bundle contains of others, and on which terms. */
function licences(): Plugin {
  return {
    name: "licences",
    generateBundle() {
      const parts = SHIPPED.map((name) => {
        const folder = `node_modules/${name}`;
        const { version, license } = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
        const terms = ["LICENSE", "NOTICE"].map((f) => `${folder}/${f}`).filter((f) => existsSync(f));
        return [`${name} ${version} (${license})`, ...terms.map((f) => readFileSync(f, "utf8"))].join("\n\n");
      });
      const source = `${parts.join(`\n\n${"=".repeat(80)}\n\n`)}\n`;
      this.emitFile({ type: "asset", fileName: "licences.txt", source });
    },
  };
}

export default defineConfig({
  plugins: [licences()],
  build: {
    outDir: "../src/marketpulse/web/static",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0, // the content security policy allows no data: scripts or styles
    modulePreload: { polyfill: false },
  },
  server: {
    proxy: {
      "/api": { target: server, changeOrigin: true },
      "/ws": { target: server, ws: true, changeOrigin: true, rewriteWsOrigin: true },
    },
  },
});
