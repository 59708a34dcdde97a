"""Write the pages into docs/reference, where git ignores them."""

from pathlib import Path

from docs.generate import commands, http, metrics, settings

REFERENCE = Path(__file__).resolve().parents[1] / "reference"
PAGES = {
    "commands.md": commands.page,
    "http.md": http.page,
    "metrics.md": metrics.page,
    "settings.md": settings.page,
}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page())
        print(f"docs/reference/{name}")
