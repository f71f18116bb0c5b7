"""The report in a browser: at every width, in the dark and on paper, without a script and without a network."""

from browser import open_browser
from command import understudy

CLIPPED = """[...document.querySelectorAll('h1, h2, p, li, figcaption, td, th')].filter(e => e.scrollWidth > e.clientWidth + 1
  && getComputedStyle(e).overflowX === 'hidden').map(e => e.textContent.slice(0, 60))"""
LETTERS = """Math.min(...[...document.querySelectorAll('figure svg')].map(
  picture => picture.getBoundingClientRect().height / picture.viewBox.baseVal.height))"""
UNNAMED = """[...document.querySelectorAll('table, figure')].filter(e => !e.getAttribute('aria-label')).length
  + [...document.querySelectorAll('h2')].filter(e => !e.id || !e.querySelector(`a[href="#${e.id}"]`)).length"""
SCROLLING = """[...document.querySelectorAll('.wide')].filter(e => e.scrollWidth > e.clientWidth)
  .map(e => e.querySelector('table').getAttribute('aria-label'))"""
SAID = "document.querySelector('.said').textContent"


def test_nothing_is_clipped_or_nameless_at_any_width_in_the_dark_and_on_paper(tiny, tmp_path):
    report = tiny / "runs" / "demo" / "report.html"
    assert understudy("report", "runs/demo", cwd=tiny).code == 0
    assert report.stat().st_size < 2 * 2**20
    with open_browser(tmp_path) as browser:
        for width in (1280, 400):
            browser.resize(width, 900)
            browser.go(report.as_uri())
            assert browser.run("document.documentElement.scrollWidth") <= width
            assert browser.run(CLIPPED) == []
            assert browser.run(SCROLLING) == [] or width < 1280
            assert browser.run(LETTERS) > 0.9  # pixels for a point of type; what is wider scrolls
        assert browser.run(UNNAMED) == 0
        assert "data" in browser.run(SAID)
        browser.draw(tmp_path / "narrow.png")
        paper = browser.run("getComputedStyle(document.body).backgroundColor")
        browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
        assert browser.run("getComputedStyle(document.body).backgroundColor") != paper
        assert browser.run("getComputedStyle(document.querySelector('figure svg')).backgroundColor") == "rgb(255, 255, 255)"
        browser.call("Emulation.setEmulatedMedia", media="print", features=[])
        assert browser.run("getComputedStyle(document.querySelector('.wide')).overflowX") == "visible"
        assert len(browser.call("Page.printToPDF")["data"]) > 10_000
        assert browser.problems == []
