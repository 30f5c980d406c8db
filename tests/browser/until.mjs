// Waiting within bounds.

/** Looks until `done` is true; `what` is told where it does not become so within the seconds. */
export async function until(what, done, seconds = 30) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const found = await done();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`not within ${seconds} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
