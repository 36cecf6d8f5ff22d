// Unpacks the packaged Chromium of @sparticuz/chromium, with the few libraries that a bare machine
// lacks, and writes a `chromium` script that starts it:  node unpack.mjs TARGET_DIRECTORY SCRIPT
import fs from "node:fs";
import path from "node:path";
import zlib from "node:zlib";
import { createRequire } from "node:module";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";

const require = createRequire(import.meta.url);
const [target, script] = process.argv.slice(2);
const here = path.dirname(fileURLToPath(import.meta.url));
const parcels = path.join(here, "node_modules", "@sparticuz", "chromium", "bin");
const tar = require("tar-fs");

const unbrotli = (name) => [fs.createReadStream(path.join(parcels, name)), zlib.createBrotliDecompress()];

fs.rmSync(target, { recursive: true, force: true });
fs.mkdirSync(target, { recursive: true });
const browser = path.join(target, "chromium");
await pipeline(...unbrotli("chromium.br"), fs.createWriteStream(browser, { mode: 0o755 }));
for (const name of ["al2023.tar.br", "swiftshader.tar.br", "fonts.tar.br"]) {
  await pipeline(...unbrotli(name), tar.extract(target));
}
fs.writeFileSync(
  path.join(target, "fonts", "fonts.conf"),
  `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>/usr/share/fonts</dir>
  <dir>${target}/fonts</dir>
  <cachedir>${target}/fonts-cache</cachedir>
</fontconfig>
`,
);
fs.writeFileSync(
  script,
  `#!/bin/sh
here='${target}'
export LD_LIBRARY_PATH="$here/lib:$here:$LD_LIBRARY_PATH"
export FONTCONFIG_PATH="$here/fonts"
exec "$here/chromium" "$@"
`,
  { mode: 0o755 },
);
