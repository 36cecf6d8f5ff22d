import { defineConfig } from "vite";

// `npm run dev` shows the pages with the data of a `marketpulse serve` on its default port.
const server = "http://127.0.0.1:8080";

export default defineConfig({
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
