// What the scripts of Node's clients share: where the gateway is, and a line of JSON for each check.
export const URL_ = process.env.POTLUCK_URL;
export const KEY = process.env.POTLUCK_KEY;
export const ASK = "Say something about soup.";
export const USE_TOOL = "Please use tool look_up for the soup.";
export const DISH = "lentils, two leeks, one carrot";
export const SCHEMA = { type: "object", properties: { dish: { type: "string" } }, required: ["dish"] };

export async function check(name, what) {
  let ok = true, detail = "";
  try { detail = await what(); } catch (error) { ok = false; detail = `${error?.constructor?.name}: ${error?.message}`; }
  console.log(`{"check": ${JSON.stringify(name)}, "ok": ${ok}, "detail": ${JSON.stringify(String(detail).slice(0, 600))}}`);
}

export function must(holds, said) { if (!holds) throw new Error(said); }

export function text(said) { must(said && said.split(" ").length >= 3, `the answer is short: ${said}`); return said; }

export function streamed(parts) {
  const kept = parts.filter(Boolean);
  must(kept.length > 2, `the stream came in ${kept.length} parts`);
  return text(kept.join(""));
}

export function used(said) { must(said?.includes(DISH), `the tool's answer is not in ${said}`); return said; }

// What the client shows its user: a sentence with this word in it.
export async function readable(act, word) {
  try { await act(); } catch (error) {
    must(error.message.toLowerCase().includes(word), `${word} is not in ${error.message}`);
    must(error.message.length > 30, `too short to help anybody: ${error.message}`);
    return error.message;
  }
  throw new Error("nothing was raised");
}
