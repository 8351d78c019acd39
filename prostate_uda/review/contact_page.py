"""Floor 2, review: a contact sheet as one HTML file that needs nothing beside it."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from prostate_uda.errors import SettingsError
from prostate_uda.review.files import whole

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{ title }}</title>
<style>
  body { margin: 1.5rem; background: #101114; color: #f2f2f2; font: 15px/1.45 system-ui, sans-serif; }
  h1 { font-size: 1.3rem; } p, dd { max-width: 60rem; color: #c9c9c9; } dt { font-weight: 600; }
  img { max-width: 100%; height: auto; } table { border-collapse: collapse; margin: 1rem 0; }
  th, td { padding: .25rem .9rem .25rem 0; text-align: left; font-variant-numeric: tabular-nums; }
  th { color: #9a9a9a; font-weight: 500; border-bottom: 1px solid #333; }
</style>
<h1>{{ title }}</h1>
<p>A row is a case, a column a normalization with one grey window for all cases. Thin lines are cases, thick ones the
mean of a place. The patient's right is at the left. Contours: solid is the prostate, dashed the transition zone. For
research only.</p>
<img src="data:image/png;base64,{{ picture }}" alt="Contact sheet of {{ rows|length }} cases">
<table>
  <tr>{% for name in names %}<th>{{ name }}</th>{% endfor %}</tr>
  {% for row in rows %}<tr>{% for name in names %}<td>{{ row[name] }}</td>{% endfor %}</tr>
  {% endfor %}
</table>
<dl>{% for name, meaning in legend.items() %}<dt>{{ name }}</dt><dd>{{ meaning }}</dd>{% endfor %}</dl>
</html>
"""


def can_write_pages() -> bool:
    """Whether jinja2 is here."""
    return find_spec("jinja2") is not None


def contact_page(
    picture: Path, rows: Sequence[Mapping[str, str]], *, path: Path, title: str, legend: Mapping[str, str]
) -> None:
    """Write the page: the sheet, what is known of each case, and what the columns mean.

    Args:
        picture: The sheet's PNG; it is put inside.
        rows: A row of the table per case, all with the same keys.
        path: The HTML; written under another name first, so it is never half there.
        title: Headline.
        legend: Column of the sheet to what it means.

    Raises:
        SettingsError: jinja2 is missing, or there is no row.
    """
    if not can_write_pages():
        raise SettingsError("an HTML page needs jinja2; pip install jinja2, or look at the PNG")
    if not rows:
        raise SettingsError("a page of no case; one or more are allowed; add a case")
    from jinja2 import Environment, StrictUndefined

    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(_PAGE)
    encoded = b64encode(picture.read_bytes()).decode("ascii")
    text = template.render(title=title, rows=rows, names=list(rows[0]), legend=legend, picture=encoded)
    with whole(path) as half:
        half.write_text(text, encoding="utf-8")
