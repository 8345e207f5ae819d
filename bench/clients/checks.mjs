// Checks of a Node client: as checks.py, with the same questions.

const env = process.env;
export const URL = env.URL, KEY = env.FLIGHTLOOP_API_KEY, MODEL = env.MODEL, POOR_KEY = env.POOR_KEY;
export const SCRIPTED = env.SCRIPTED === "1";
const MOST_SEEN = 300, LEFT_MS = 10_000, TIMEOUT_MS = SCRIPTED ? 60_000 : 240_000;

export const HELLO = "Say hello in one short sentence.", SAID_HELLO = "Hello there, my friend.";
export const ADD = "What is 2 + 3? Use the tool add.", SAID_SUM = "The sum is 5.";
export const ADD_TWICE = "What are 2 + 3 and 4 + 5? Use the tool add for both.", SAID_SUMS = "The sums are 5 and 9.";
export const ADD_ON = "Add 2 and 3, then add 4 to the sum. Use the tool add for each.", SAID_RESULT = "The result is 9.";
export const PERSON = "Describe this person: Ada Lovelace, 36 years old, lives in London, England.";
export const CIRCLE = "Draw a circle of radius 3.";
export const ENDLESS = "Count upwards for ever: 1 2 3 4 5 6 7 8 9 10";
export const BUSY = "Busy, then answer.", ALWAYS_BUSY = "Always busy.", BROKEN = "Your server is broken.";

const declared = [];

/** Declares a check: `act` returns what it saw and whether that is right. An exception is a failed check. */
export function check(name, act) {
  declared.push([name, act]);
}

/** Declares a check that needs the scripted model. */
export function scripted(name, act) {
  if (SCRIPTED) check(name, act);
}

/** Equality with the scripted model; of another model's answer, that it is a text. */
export function alike(seen, expected) {
  return SCRIPTED ? seen === expected : typeof seen === "string" && seen.length > 0;
}

/** Whether `act` throws an error of this kind, with these properties. */
export async function raised(kind, act, expected = {}) {
  try {
    return [`no error, but ${JSON.stringify(await act())}`, false];
  } catch (error) {
    const fits = error instanceof kind && Object.entries(expected).every(([key, value]) => error[key] === value);
    return [`${error.constructor.name} ${Object.keys(expected).map((key) => error[key])} ${error.message}`, fits];
  }
}

/** Number of endless answers that the model server has stopped; waits until they are more than these. */
export async function left(moreThan = -1) {
  for (const until = Date.now() + LEFT_MS; ; ) {
    const count = (await (await fetch(`${env.SCRIPT_URL}/endless`)).json()).left;
    if (count > moreThan || Date.now() > until) return count;
    await new Promise((resume) => setTimeout(resume, 100));
  }
}

async function within(act) {
  let timer;
  const late = new Promise((_, refuse) => {
    timer = setTimeout(() => refuse(new Error("the check took too long")), TIMEOUT_MS);
  });
  return Promise.race([act(), late]).finally(() => clearTimeout(timer));
}

/** Runs all checks and prints a line of JSON for each. */
export async function run() {
  for (const [name, act] of declared) {
    let seen, ok;
    try {
      [seen, ok] = await within(act);
    } catch (error) {
      console.error(error);
      [seen, ok] = [`${error.constructor.name}: ${error.message}`, false];
    }
    const text = typeof seen === "string" ? seen : JSON.stringify(seen) ?? "";
    console.log(JSON.stringify({ name, ok: Boolean(ok), seen: text.slice(0, MOST_SEEN) }));
  }
  process.exit(0);
}
