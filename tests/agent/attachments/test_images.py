from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI, Response
from fastapi.responses import RedirectResponse
from PIL import Image, PngImagePlugin

from agent.attachments.images import AT_ONCE, KEPT, WAITING_EACH, Images, Sender, TakenIn, check_number
from agent.serve.http_server import running
from agent.testing.images import local_hosts, local_images
from flightloop.content import ImagePart, ImageUrl, Part, TextPart
from flightloop.errors import InvalidRequest, Overloaded, UnsupportedContent
from flightloop.limits import IMAGES
from flightloop.tool import ToolContext, tool
from tests.tools.vision.drawing import bar_chart, png, table_image, text_image
from tools.config import ToolsConfig
from tools.host import ToolHosts, ToolOutcome
from tools.vision import hosted

CITIES = ("Oslo", "Lima", "Rome", "Kyiv")
ME = Sender("default")


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def part(data: bytes, head: str = "data:image/png;base64") -> ImagePart:
    return ImagePart(image_url=ImageUrl(url=f"{head},{base64.b64encode(data).decode()}"))


def file_of(taken: Part) -> bytes:
    assert isinstance(taken, ImagePart)
    return base64.b64decode(taken.image_url.url.partition(",")[2])


async def take(data: bytes, images: Images | None = None, *, read: bool = False) -> tuple[Part, Any]:
    taken = await (images or local_images()).take([part(data)], ME, "input", read=read)
    return taken.content[0], taken.readings[0] if taken.readings else None


async def test_metadata_is_dropped_and_the_turn_applied() -> None:
    image = Image.new("RGB", (60, 40), "white")
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "home address", 6
    found, _ = await take(encoded(image, "JPEG", exif=exif, comment=b"secret"))
    kept = file_of(found)
    with Image.open(io.BytesIO(kept)) as stored:
        assert (stored.format, stored.size) == ("JPEG", (40, 60))
        assert not stored.getexif()
    assert b"home address" not in kept
    assert b"secret" not in kept
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Comment", "secret")
    found, _ = await take(encoded(image, "PNG", pnginfo=notes))
    assert b"secret" not in file_of(found)


async def test_the_type_is_that_of_the_content() -> None:
    image = Image.new("RGB", (60, 40), "white")
    [found] = (await local_images().take([part(encoded(image, "JPEG"))], ME, "input", read=False)).content
    assert isinstance(found, ImagePart)
    assert found.image_url.url.startswith("data:image/jpeg;base64,")
    found, _ = await take(encoded(image, "WEBP"))
    assert file_of(found).startswith(b"\x89PNG")


async def test_large_images_are_scaled_down_to_the_limits() -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 255, (2000, 2600, 3), dtype=np.uint8))
    kept = file_of((await take(encoded(noise, "WEBP", quality=20)))[0])
    assert len(kept) <= hosted.STORED_BYTES
    with Image.open(io.BytesIO(kept)) as stored:
        assert max(stored.size) <= hosted.STORED_SIDE
        assert stored.width / stored.height == pytest.approx(1.3, abs=0.01)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not PNG, JPEG or WebP"),
        (b"%PDF-1.7", "not PNG, JPEG or WebP"),
        (png(Image.new("RGB", (60, 40)))[:60], "damaged"),
        (encoded(Image.new("L", (9000, 9000)), "PNG", optimize=True), "9000 x 9000 pixels; the limits are 25,000,000"),
    ],
)
async def test_other_content_and_bombs_are_refused(data: bytes, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says) as refused:
        await take(data)
    assert refused.value.param == "input[0]"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("data:image/png,plain", "must look like data:image/png;base64"),
        ("data:image/png;base64", "must look like"),
        ("data:image/png;base64,???", "not base64"),
        ("file:///etc/passwd", "begins with https"),
        ("sha256:00", "begins with https"),
        ("https://example.com/" + "x" * 3000, "at most 2000 characters"),
        ("https://example.com/a.png", "egress.hosts of the policy default is empty"),
    ],
)
async def test_addresses_that_are_refused(url: str, says: str) -> None:
    asked = ImagePart(image_url=ImageUrl(url=url))
    with pytest.raises(InvalidRequest, match=says):
        await local_images().take([TextPart(text="?"), asked], ME, "input", read=False)


@asynccontextmanager
async def site() -> AsyncIterator[str]:
    app = FastAPI()
    image = png(Image.new("RGB", (60, 40), "white"))
    app.add_api_route("/a.png", lambda: Response(image, media_type="image/png"))
    app.add_api_route("/away", lambda: RedirectResponse("http://192.0.2.1/a.png"))
    app.add_api_route("/none", lambda: Response(status_code=404))
    async with running(app, grace_s=1) as url:
        yield url


async def test_an_image_is_fetched_only_from_hosts_on_the_egress_list() -> None:
    async with site() as url:
        allowed = Sender("default", (url.removeprefix("http://"),), "web")
        images = local_images()

        async def fetch(path: str, sender: Sender = allowed) -> Part:
            asked = ImagePart(image_url=ImageUrl(url=url + path))
            return (await images.take([asked], sender, "input", read=False)).content[0]

        assert file_of(await fetch("/a.png")).startswith(b"\x89PNG")
        with pytest.raises(InvalidRequest, match=r"192\.0\.2\.1 is not allowed"):
            await fetch("/away")
        with pytest.raises(InvalidRequest, match="status 404"):
            await fetch("/none")
        with pytest.raises(InvalidRequest, match=r"127\.0\.0\.1.* is not allowed"):
            await fetch("/a.png", Sender("default", ("example.com",)))


async def test_a_chart_a_table_and_a_text_are_read() -> None:
    images = local_images()
    _, chart = await take(bar_chart([(35, 81, 12, 57)], CITIES), images, read=True)
    assert (chart.kind, chart.chart, [p.x for p in chart.series[0].points]) == ("chart", "bar", list(CITIES))
    assert chart.series[0].points[1].y == pytest.approx(81, rel=0.05)
    rows = (("Name", "Units"), ("Apples", "120"), ("Pears", "85"), ("Plums", "70"))
    _, table = await take(table_image(rows, ruled=True), images, read=True)
    assert (table.kind, table.columns, table.rows[0]) == ("table", ["Name", "Units"], ["Apples", "120"])
    _, text = await take(text_image(("Hello world",)), images, read=True)
    assert (text.kind, text.lines) == ("text", ["Hello world"])


async def test_an_image_is_read_once_for_a_tenant() -> None:
    hosts = local_hosts()
    images = Images(hosts, Path())
    data = bar_chart([(35, 81, 12, 57)], CITIES)
    first, second = await take(data, images), await take(data, images)
    assert first == second
    assert len(hosts.attempts) == 1
    await images.take([part(data)], Sender("other"), "input", read=False)
    assert len(hosts.attempts) == 2
    for shade in range(KEPT):
        await take(png(Image.new("RGB", (20, 20), (shade, 0, 0))), images)
    await take(data, images)
    assert len(hosts.attempts) == KEPT + 3


async def test_in_a_host_of_its_own(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = ToolsConfig(spare=0, idle=1, max_result_bytes=16 * 1024**2, preloaded=hosted.PRELOADED)
    images = Images(ToolHosts([hosted.__name__], config, tmp_path), tmp_path)
    try:
        _, reading = await take(bar_chart([(35, 81, 12, 57)], CITIES), images, read=True)
        assert reading.series[0].points[2].y == pytest.approx(12, rel=0.1)
        with pytest.raises(InvalidRequest, match="not PNG"):
            await take(b"GIF89a", images)
        _, text = await take(text_image(("Hello world",)), images, read=True)
        assert text.lines == ["Hello world"]
        assert "replacing tool host" not in caplog.text  # its models stay in memory
    finally:
        await images.close()


async def test_the_images_of_a_content_are_limited_together() -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 255, (680, 680, 3), dtype=np.uint8))
    one = part(encoded(noise, "PNG"))
    images = local_images()
    assert len((await images.take([one] * 3, ME, "input", read=False)).content) == 3
    with pytest.raises(InvalidRequest, match="the limit is 6291456 together"):
        await images.take([one] * 4, ME, "input", read=False)


@tool
def take_image(data: str, read: bool) -> Any:
    """Answers as a process that was taken over might."""
    return {"data": data, "type": "SVG", "reading": {"kind": "chart"}}


async def test_what_a_host_returns_is_not_trusted() -> None:
    hosts = type(local_hosts())([take_image.__flightloop_tool__])
    with pytest.raises(UnsupportedContent, match="could not be processed"):
        await take(b"x", Images(hosts, Path()), read=True)


def test_the_number_of_images_is_limited() -> None:
    one = part(b"x")
    check_number([[one] * IMAGES], "input")
    with pytest.raises(InvalidRequest, match=f"{IMAGES + 1} images exceed the limit of {IMAGES}"):
        check_number([[one] * IMAGES, [one]], "messages")


async def test_one_subject_leaves_room_for_the_others() -> None:
    go = asyncio.Event()

    class Slow:
        async def call(self, name: str, arguments: dict[str, Any], context: ToolContext) -> ToolOutcome:
            await go.wait()
            return ToolOutcome(True, {"data": "eA==", "type": "PNG"})

        async def close(self) -> None: ...

    images = Images(Slow(), Path())

    async def take_for(subject: str, shade: int) -> TakenIn:
        sender = Sender("default", subject=subject)
        return await images.take([part(bytes([shade]))], sender, "input", read=False)

    waiting = [asyncio.create_task(take_for("ann", shade)) for shade in range(AT_ONCE + WAITING_EACH)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="4 images of the subject ann are already waiting"):
        await take_for("ann", 99)
    other = asyncio.create_task(take_for("bob", 100))
    await asyncio.sleep(0)
    go.set()
    assert all(one.content for one in await asyncio.gather(*waiting, other))
    assert (await take_for("ann", 101)).content
