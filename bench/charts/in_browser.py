"""Charts drawn by Plotly and ECharts in headless Chromium, without a network."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

from bench.charts.echarts import option
from bench.charts.plotly import figure
from bench.charts.specimen import Specimen

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--font-render-hinting=none")
ECHARTS = "echarts@6"


def echarts_script(cache: Path) -> Path | None:
    """The library from the npm registry, unpacked into ``cache`` once; None if npm or its registry is missing."""
    script = cache / "package" / "dist" / "echarts.min.js"
    if script.is_file():
        return script
    npm = shutil.which("npm")
    if npm is None:
        return None
    cache.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        packed = subprocess.run([npm, "pack", ECHARTS, "--silent"], cwd=folder, capture_output=True, check=False)
        archives = list(Path(folder).glob("*.tgz"))
        if packed.returncode or not archives:
            return None
        shutil.unpack_archive(archives[0], cache)
    return script if script.is_file() else None


class Browser:
    """A headless Chromium that draws one chart after the other. Use as a context manager."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache

    def __enter__(self) -> Browser:
        from playwright.sync_api import sync_playwright

        self._play = sync_playwright().start()
        self._chromium = self._play.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        self._pages: dict[tuple[str, int], Any] = {}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._chromium.close()
        self._play.stop()

    def draw(self, specimen: Specimen, library: str) -> bytes:
        """PNG of the specimen. ``library`` is plotly or echarts."""
        pick = specimen.choice("browser")
        size = {"width": pick.randint(480, 980), "height": pick.randint(340, 620)}
        page = self._page(library, pick.choice((1, 1, 1.5, 2)))
        page.set_viewport_size(size)
        page.evaluate("document.getElementById('chart').innerHTML = ''")
        if library == "plotly":
            page.evaluate(
                "spec => Plotly.newPlot(fresh(), spec.data, spec.layout, {staticPlot: true})", figure(specimen, size)
            )
        else:
            dark = pick.random() < 0.1
            theme = "'dark'" if dark else "null"
            page.evaluate(f"spec => echarts.init(fresh(), {theme}).setOption(spec)", option(specimen, dark=dark))
        data: bytes = page.screenshot()
        return data

    def _page(self, library: str, scale: float) -> Any:
        key = (library, int(scale * 10))
        if key not in self._pages:
            page = self._chromium.new_context(device_scale_factor=scale).new_page()
            page.set_content("<body style='margin:0'><div id=chart></div></body>")
            page.add_script_tag(content=self._script(library))
            page.evaluate(FRESH)
            self._pages[key] = page
        return self._pages[key]

    def _script(self, library: str) -> str:
        if library == "plotly":
            from plotly.offline import get_plotlyjs

            return str(get_plotlyjs())
        script = echarts_script(self._cache)
        if script is None:
            raise FileNotFoundError("ECharts could not be fetched from the npm registry")
        return script.read_text()


FRESH = """() => {
  window.fresh = () => {
    const box = document.createElement('div');
    box.style.width = innerWidth + 'px';
    box.style.height = innerHeight + 'px';
    document.getElementById('chart').replaceChildren(box);
    return box;
  };
}"""
