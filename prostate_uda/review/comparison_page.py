"""Floor 2, review: a comparison's table as one HTML file that needs nothing beside it."""

from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, StrictUndefined

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{ title }}</title>
<style>
  body { margin: 1.5rem; font: 15px/1.45 system-ui, sans-serif; color: #1b1b1b; }
  h1 { font-size: 1.3rem; } li { max-width: 60rem; }
  table { border-collapse: collapse; border-top: 2px solid; border-bottom: 2px solid; }
  th, td { padding: .25rem .7rem; text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
  th { font-weight: 500; } tbody th { text-align: left; } tbody { border-top: 1px solid #999; }
  th[colspan] { font-style: italic; } td.best { font-weight: 700; } .wide { overflow-x: auto; }
</style>
<h1>{{ title }}</h1>
<div class="wide"><table>
  <thead><tr><th></th>{% for name in columns %}<th>{{ name }}</th>{% endfor %}</tr></thead>
  {% for block in blocks %}<tbody>
    <tr><th colspan="{{ columns|length + 1 }}">{{ block.title }}</th></tr>
    {% for line in block.lines %}<tr><th>{{ line.name }}</th>
      {%- for cell in line.cells %}<td{% if cell.best %} class="best"{% endif %}>{{ cell.text }}</td>{% endfor %}</tr>
    {% endfor %}
  </tbody>{% endfor %}
</table></div>
<ul>{% for note in notes %}<li>{{ note }}</li>{% endfor %}</ul>
</html>
"""


@dataclass(frozen=True)
class Cell:
    """One figure as it is shown, and whether it is the best of its column."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Line:
    """A row of the table."""

    name: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Block:
    """Lines under a title of their own."""

    title: str
    lines: tuple[Line, ...]


def comparison_page(title: str, columns: Sequence[str], blocks: Sequence[Block], notes: Sequence[str]) -> str:
    """The page; every text is escaped.

    Args:
        title: Headline.
        columns: Of every line's cells.
        blocks: The table's parts.
        notes: Sentences below it.
    """
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(_PAGE)
    return template.render(title=title, columns=columns, blocks=blocks, notes=notes)
