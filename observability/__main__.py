"""``python -m observability`` regenerates the dashboards, the alert rules and the metrics documentation."""

from __future__ import annotations

from pathlib import Path

from observability.documents import generated


def main(root: Path) -> None:
    for path, text in generated(root).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        changed = not path.exists() or path.read_text(encoding="utf-8") != text
        if changed:
            path.write_text(text, encoding="utf-8")
        print(f"{'written' if changed else 'unchanged'}: {path.relative_to(root)}")


if __name__ == "__main__":
    main(Path(__file__).resolve().parents[1])
