() => {
  const faults = [];
  const say = (what, element) => faults.push(`${what}: ${element ? element.outerHTML.slice(0, 160) : ""}`);
  const shown = (element) => element.checkVisibility({checkVisibilityCSS: true, checkOpacity: true});
  const all = (selector) => [...document.querySelectorAll(selector)].filter(shown);

  if (!document.documentElement.lang) say("no language");
  if (!document.title.trim()) say("no title");
  for (const [selector, most] of [["main", 1], ["h1", 1], ["body > header", 1]])
    if (all(selector).length !== most) say(`${all(selector).length} times ${selector}`);
  for (const nav of all("nav")) if (!name(nav)) say("a navigation without a name", nav);
  let level = 0;
  for (const heading of all("h1, h2, h3, h4, h5, h6")) {
    const its = Number(heading.tagName[1]);
    if (its > level + 1) say(`a heading of level ${its} after ${level}`, heading);
    if (!heading.textContent.trim()) say("an empty heading", heading);
    level = its;
  }

  function name(element) {
    const referred = (element.getAttribute("aria-labelledby") || "").split(/\s+/).filter(Boolean)
      .map((id) => document.getElementById(id)?.textContent || "").join(" ");
    const labels = element.labels ? [...element.labels].map((label) => label.textContent).join(" ") : "";
    const images = [...element.querySelectorAll("img[alt]")].map((image) => image.alt).join(" ");
    return (element.getAttribute("aria-label") || referred || labels || element.textContent + images
      || element.title || "").trim();
  }
  for (const element of all("a[href], button, input:not([type=hidden]), select, textarea, summary, [role=region], [role=table]"))
    if (element.getAttribute("aria-hidden") !== "true" && !name(element)) say("no name", element);
  for (const element of all("[aria-hidden=true] a, [aria-hidden=true] button, a[aria-hidden=true]"))
    if (element.tabIndex >= 0) say("hidden from some, in everybody's way", element);
  for (const image of all("img")) if (!image.hasAttribute("alt")) say("no alt", image);
  for (const svg of all("svg"))
    if (svg.getAttribute("aria-hidden") !== "true" && !(svg.getAttribute("role") === "img" && name(svg))) say("a plot without words", svg);
  for (const cell of all("th")) if (!cell.scope) say("no scope", cell);
  const ids = new Set();
  for (const element of document.querySelectorAll("[id]")) {
    if (ids.has(element.id)) say("this id is there twice", element);
    ids.add(element.id);
  }
  for (const attribute of ["aria-labelledby", "aria-describedby"])
    for (const element of document.querySelectorAll(`[${attribute}]`))
      for (const id of element.getAttribute(attribute).split(/\s+/)) if (!document.getElementById(id)) say(`no such id ${id}`, element);
  for (const element of all("[tabindex]")) if (element.tabIndex > 0) say("an order of its own", element);
  for (const element of document.querySelectorAll("[style], script:not([src]), style")) say("inline", element);
  if (!document.querySelector("a[href='#main']")) say("no link that skips the navigation");
  return faults;
}
