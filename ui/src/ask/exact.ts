/** JSON whose whole numbers may be longer than a JavaScript number holds: those come as text, digit by digit. */

const STRING_OR_LONG = /"(?:[^"\\]|\\.)*"|(?<![\d.eE+-])-?\d{16,}(?![\d.eE])/g;

export function parseExact(json: string): unknown {
  return JSON.parse(json.replace(STRING_OR_LONG, (found) => (found.startsWith('"') ? found : `"${found}"`)));
}
