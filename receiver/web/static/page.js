// What cannot be done without a script, and nothing that reading needs:
// copying a line, and times that stay true while the page is open.
"use strict";

function ago(seconds) {
  const past = Math.abs(seconds);
  if (past < 5) return "just now";
  let said = "";
  if (past < 60) said = `${Math.round(past)} s`;
  else if (past < 3600) said = `${Math.floor(past / 60)} min`;
  else if (past < 86400) said = `${Math.floor(past / 3600)} h`;
  else {
    const days = Math.floor(past / 86400);
    said = `${days} day${days === 1 ? "" : "s"}`;
  }
  return seconds > 0 ? `${said} ago` : `in ${said}`;
}

function keepTime() {
  for (const time of document.querySelectorAll("time[datetime]")) {
    const shown = time.querySelector(".ago");
    const passed = (Date.now() - Date.parse(time.dateTime)) / 1000;
    if (shown && Number.isFinite(passed) && passed < 14 * 86400) shown.textContent = ago(passed);
  }
}

async function copied(button) {
  const code = button.parentElement.querySelector("code");
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  } catch {
    // Without a clipboard (plain HTTP from elsewhere) the line is selected: the keyboard copies it.
    const range = document.createRange();
    range.selectNodeContents(code);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}

for (const button of document.querySelectorAll("[data-copy]")) button.hidden = false;
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) copied(button);
});
setInterval(keepTime, 15000);
