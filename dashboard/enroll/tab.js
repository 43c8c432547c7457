// A secret of this browser tab, kept over a reload of the page and gone with the tab. It is in no address and
// no cookie, so that nobody gets at what this tab has put in by following a link.

const NAME = "robi_tab";

function secret() {
  const known = sessionStorage.getItem(NAME);
  if (/^[0-9a-f]{32}$/.test(known ?? "")) return known;
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const made = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  sessionStorage.setItem(NAME, made);
  return made;
}

export default function tab({ data, setStateValue }) {
  try {
    const own = secret();
    if (data.known !== own) setStateValue("tab", own);
  } catch {
    // A browser that keeps nothing: what was put in lasts until the page is loaded anew.
  }
}
