"""Great Expectations' Data Docs, made to open without internet.

Enters: a folder of Data Docs as Great Expectations builds them: their style and scripts come from seven content networks, so that
offline they are bare and, online, they tell strangers when somebody reads them. Leaves: the same pages with a style of their own
and nothing fetched from anywhere, and a first page that says in one table what was expected and found.
"""

from __future__ import annotations

import html
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

_SCRIPTS = re.compile(r"<script\b.*?</script>", re.DOTALL | re.IGNORECASE)
_REMOTE_LINKS = re.compile(r"""<link\b[^>]*href=["']https?:[^>]*>""", re.IGNORECASE)
_REMOTE_IMAGES = re.compile(r"""<img\b[^>]*src=["']https?:[^>]*>""", re.IGNORECASE)
_REMOTE_STYLES = re.compile(r"""url\(['"]?https?:[^)]*\)""", re.IGNORECASE)
_DEAD_PARTS = re.compile(r"<footer\b.*?</footer>|<nav class=\"navbar navbar-expand-md.*?</nav>\s*</div>\s*</nav>", re.DOTALL)
_DEAD_BUTTONS = re.compile(r"<label class=\"btn.*?</label>", re.DOTALL)

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1f24; background: #fff; }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem; }
a { color: #0b5cad; } h1, h2, h3, h4, h5 { line-height: 1.25; margin: 1.4em 0 .5em; }
table { border-collapse: collapse; width: 100%; margin: .6rem 0 1.2rem; }
th, td { border-bottom: 1px solid #d9dee3; padding: .35rem .6rem; text-align: left; vertical-align: top; }
.met { color: #18794e; } .unmet, .text-danger { color: #c62a2f; font-weight: 600; } .text-success { color: #18794e; }
.fa-check-circle::before, .fa-check::before { content: "\\2713"; } .fa-times::before { content: "\\2717"; }
.fa-exclamation-triangle::before { content: "\\26A0"; } i.fas, i.far { font-style: normal; }
.card { border: 1px solid #d9dee3; border-radius: 6px; padding: .5rem 1rem; margin: .8rem 0; } ul { padding-left: 1.2rem; }
.code-snippet, .badge-secondary { background: #f3f5f7; border-radius: 4px; padding: 0 .3em; }
@media (prefers-color-scheme: dark) {
  body { color: #e6e9ec; background: #16191d; } a { color: #7ab8f5; } .met, .text-success { color: #4cc38a; }
  .unmet, .text-danger { color: #ff8589; } th, td, .card { border-color: #33393f; }
  .code-snippet, .badge-secondary { background: #262b30; }
}
"""

_FIRST_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: expectations</title><style>{style}</style></head><body>
<h1>{title}: <span class="{word}">{summary}</span></h1>
<table><thead><tr><th></th><th>expected</th><th>found</th></tr></thead><tbody>
{rows}
</tbody></table>
<h2>Great Expectations' own pages</h2>
<ul>{pages}</ul>
</body></html>
"""


def make_offline(site: Path, *, title: str, verdicts: Sequence[tuple[str, bool, str]]) -> None:
    """Rewrite the pages in `site` so that they need nothing but themselves, and write index.html over `verdicts`.

    verdicts: (what is expected, whether it was met, what was found) for each expectation.
    """
    shutil.rmtree(site / "static", ignore_errors=True)
    pages = sorted(page for page in site.rglob("*.html") if page.parent != site)
    for page in pages:
        page.write_text(_offline(page.read_text(encoding="utf-8")), encoding="utf-8")
    unmet = sum(1 for _, met, _ in verdicts if not met)
    links = "".join(f'<li><a href="{_link(page, site)}">{_link(page, site)}</a></li>' for page in pages)
    text = _FIRST_PAGE.format(
        title=html.escape(title),
        style=_STYLE,
        word="unmet" if unmet else "met",
        summary=f"{unmet} of {len(verdicts)} expectations not met" if unmet else f"all {len(verdicts)} expectations met",
        # What was not met comes first: it is what the page is opened for.
        rows="\n".join(_row(*verdict) for verdict in sorted(verdicts, key=lambda verdict: verdict[1])),
        pages=links,
    )
    (site / "index.html").write_text(text, encoding="utf-8")


def _offline(text: str) -> str:
    for dead in (_SCRIPTS, _REMOTE_LINKS, _REMOTE_IMAGES, _DEAD_PARTS, _DEAD_BUTTONS):
        text = dead.sub("", text)
    text = _REMOTE_STYLES.sub("none", text)
    text = re.sub(r"<link rel=\"shortcut icon\"[^>]*>", "", text)
    return text.replace("</head>", f"<style>{_STYLE}</style></head>", 1)


def _link(page: Path, site: Path) -> str:
    return html.escape(page.relative_to(site).as_posix())


def _row(name: str, met: bool, found: str) -> str:
    word, sign = ("met", "✓") if met else ("unmet", "✗")
    return f'<tr><td class="{word}">{sign}</td><td>{html.escape(name)}</td><td class="{word}">{html.escape(found)}</td></tr>'
