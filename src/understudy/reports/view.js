// Keys for pages that work without them: each follows a link that is on the page.
addEventListener("keydown", (event) => {
  if (event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  const search = document.querySelector("input[type=search]");
  const follow = {
    ArrowLeft: "a[rel=prev]", k: "a[rel=prev]", ArrowRight: "a[rel=next]", j: "a[rel=next]", u: "a[rel=up]",
    Enter: event.target === document.body ? ".questions a" : "",
  }[event.key];
  const link = follow && document.querySelector(follow);
  if (event.key === "/" && search) search.focus();
  else if (link) link.click();
  else return;
  event.preventDefault();
});
