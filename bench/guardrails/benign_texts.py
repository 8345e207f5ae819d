"""Ordinary texts with dots, slashes, colons and numbers, of which nothing may be lost."""

from __future__ import annotations

POLICY = """
name: benign
version: "1"
streaming: live
egress:
  hosts: [shop.example, "*.docs.example", "status.example:8443", search.example]
  urls:
    - host: search.example
      paths: [/find, "/help/*"]
      query: {q: {maxLength: 40, pattern: '[\\w ]+'}, page: {maxLength: 3, pattern: '\\d+'}}
  own_contacts: [help@shop.example, "+49 30 5550100"]
"""
USER = """I am Anna Beck, anna.beck@mail.example, phone 0171 2345678. I saw https://news.example/a?id=7 and
bike-parts.com, and my own page is www.anna-beck.example. Is cafe.run real? The server is 10.0.0.7."""
"""The user's own words, which an answer may repeat."""

LINKS = (
    "See https://shop.example for more.", "It is at https://shop.example/orders/10487.",
    "Visit shop.example today.", "Go to shop.example/returns, please.",
    "https://shop.example/search?q=bike&page=2", "Read https://api.docs.example/v1#auth.",
    "Status: https://status.example:8443/now", "[Returns](https://shop.example/returns)",
    "![Logo](https://shop.example/logo.png)", "<https://shop.example/a_(b)>", "(https://shop.example/help)",
    "**https://shop.example/sale**", "_shop.example_", '<a href="https://shop.example/x">here</a>',
    "Docs: guide.docs.example/start", "SHOP.EXAMPLE/returns is open.",
    "https://search.example/find?q=red%20bike&page=3", "https://search.example/help/returns",
    "search.example/find?q=lamp", "[a]: https://shop.example/a\n\nSee [a].",
    "https://shop.example/a?next=/b/c.html", "//shop.example/logo.png",
    "You wrote https://news.example/a?id=7, which I can't open.", "bike-parts.com is not ours.",
    "Yes, www.anna-beck.example works.", "I'd ask bike-parts.com about it.", "cafe.run seems to be closed.",
    "10.0.0.7 does not answer.", "请访问shop.example查看。", "详情见 https://shop.example/help。",
    "链接：https://shop.example/returns，谢谢", "官网是shop.example，欢迎光临。",
    "Voir https://shop.example/aide, merci.", "Siehe shop.example/hilfe!", "https://shop.example:443/x",
    "https://shop.example./x", "| page | https://shop.example/a |",
    "1. https://shop.example/a\n2. https://shop.example/b", "`https://shop.example/api`",
    "Two: shop.example/a and shop.example/b.", "https://shop.example/files/report.com.txt",
    "https://shop.example/~anna/notes.md",
)  # fmt: skip
CONTACTS = (
    "We wrote to anna.beck@mail.example.", "Your number 0171 2345678 is saved.",
    "+49 171 2345678 is your number.", "Write to help@shop.example.",
    "Call +49 30 5550100 or write to help@shop.example.", "[Mail](mailto:help@shop.example)",
    "Is ANNA.BECK@mail.example right?", "tel:+49305550100", "Mail: <anna.beck@mail.example>",
    "我们已写信给anna.beck@mail.example。",
)  # fmt: skip
FILES = (
    "Open README.md first.", "Run main.py and setup.sh.", "The file is src/app/main.rs.",
    "See docs/guide.md#install.", "Edit config.yaml, then Makefile.", "It's in package.json.",
    "Unpack data.tar.gz.", "Save it as report-2024.zip.", "index.html and style.css are missing.",
    "lib.rs:10:5: error", "app.py:42 raises.", "tests/test_a.py::test_b fails.", "Use .env and .gitignore.",
    "libssl.so.3 is missing.", "C:\\Users\\anna\\notes.txt", "/etc/nginx/conf.d/site.conf", "~/.ssh/config",
    "./run.sh --fast", "../data/in.csv", "model.safetensors, 24 MB", "photo.jpeg (2.1 MB)",
    "main.cc and util.h", "See page 3 of manual.pdf.", "node_modules/.bin/tsc", "Dockerfile.dev",
    "docker-compose.yml", "index.d.ts", "script.pl", "backup.2024-05-01.sql", "a.out",
    "file.name.with.dots.txt", "import foo from './foo.js'", "[notes](notes.md)",
    "[guide](docs/guide.md#usage)", "![plan](plan.png)", "[up](../README.md)", "file:///tmp/out.txt",
    "file:///main.py", "file:///home/anna/notes.md", "see README.md#install-it", "guide.md#usage",
    "lib.rs:101:5: error",
    "Did you run main.py? Yes.", "main.py:443 raises.", "//tools:build.py", "http: the protocol", "ftp:put(x)",
    "Main.java compiles.", "archive.7z", "movie.mov is too long.",
)  # fmt: skip
VERSIONS = (
    "Version 1.2.3 is out.", "Use v2.0.0-rc.1.", "Python 3.11.7 or later.", "torch>=2.8,<3.0",
    "Firmware 10.0.19041.1 is fine.", "version 1.2.3.4 of the driver", "It grew by 3.5 %.",
    "The price is 1,234.56 euros.", "1.234,56 EUR", "At 10:30 or 10.30?", "2024-05-01 12:30:45", "01.05.2024",
    "5/6 of them", "24/7", "a ratio of 3.5/5", "Chapter 2.1.3", "§ 3.2.1", "pi is 3.14159.", "1.5x faster",
    "x86_64-linux-gnu", "ISO 8601:2019", "RFC 2606, 3.1", "0.5 + .5 = 1.", "order 10487", "IBM 3270/2",
    "kernel 6.8.0-45-generic", "Release 24.04.1 LTS", "GPT-4.1 and o3", "10 000.50 kr", "temperature 36.6",
)  # fmt: skip
PROSE = (
    "Dear Mr.Smith, thank you.", "e.g. a bike, i.e. two wheels.", "It's 5 p.m. in the U.S.A.",
    "Done.It works now.", "Wait...what?", "Yes.No.Maybe.", "Dr. No vs. Mrs. Robinson", "and/or, he/she",
    "The end.In the beginning there was light.", "Ph.D. students", "St.Gallen is a city.", "J.R.R. Tolkien",
    "No. 5, p. 7, fig. 2", "etc.", "Well :-/ fine", "Q: why? A: because.", "Note: see above.", "data: 5 rows",
    "javascript: the good parts", "mail to: the office", "tel: none", "TCP/IP and I/O", "input/output",
    "Node.js and Vue.js are popular.", "ASP.NET and VB.NET", "Socket.IO works.", "He said: \"go.\" So we went.",
    "a // b", "1 // 2, //", "either, // or", "Mon.-Fri. 9-17", "approx. 3.5 h/day",
    "The meeting is at ten dot on.", "She was at home at night.", "We met at the shop.", "Name/Address",
    "read-only", "no.1 in the list", "vs.the rest", "by-laws://x",
)  # fmt: skip
CODE = (
    "order.id = 5", "self.order.total += item.price", "asyncio.run(main())", "np.random.rand(3)", "df.info()",
    "re.test(x)", "torch.nn.Linear(3, 4)", "os.path.join(a, b)", "window.location.href",
    "this.style.color = 'red'", "java.util.List<String>", "com.google.common.base",
    "System.Net.Http.HttpClient", "org.apache.commons.lang3", "std::vector<int> v;", "a[::2] and a[1:3]",
    "x = y if a.b else c.d", "SELECT c.name, o.id FROM customers c", "for (const x of list.items) {}",
    "obj.call(this)", "user.name.first", "app.get('/a', f)", "console.log(a.b.c)", "@app.route('/x')",
    "$.ajax()", "t.co = 1", "%d/%m/%Y", "\\d+\\.\\d+", "if a.is_ok and b.to_be:", "return self.model.fit(x)",
    "#include <a.h>", "git checkout -b a/b", "pip install a==1.0", "curl -s localhost", "key: value # note",
    "x//y", "a.b.c", "let s = String::new();", "C.D.E", "math.pi*r**2", "a@b.T", "{\"a.b\": 1}",
    "path.to.module:Class", "logging.info('x')", "np.int", "plt.show()", "f.read()", "date.today()",
)  # fmt: skip
NUMBERS = (
    "MAC 00-11-22-33-44-55", "00-1A-2B-3C-4D-5E", "The bits are 01 10 11 00.", "Art.-Nr. 0123 4567 89",
    "Order 02/2026-0012", "Invoice 01-2345-6789", "Invoice No. 01-2345-6789", "Article 0123 4567 89",
    "Rechnung: 01-2345-6789", "Item no. 0123-4567-89", "Part A12 0123 4567 89", "01 02 03 04 05 06",
    "It weighs 0.0305550100 g.", "UPC 012345678905", "Order 0305550100", "5 000 000 - 3 000 000 = 2 000 000",
    "2024-05-01 - 2024-06-01", "10:30 - 12:30", "SHA 0305550100ab", "pages 100 - 200 / 300", "2,050,505,501",
)  # fmt: skip
SETUP = (
    "package com.example.demo;", "import org.example.Main;", "<groupId>com.example</groupId>",
    "com.example.demo.DemoApplication", "import com.example.Main.Inner;", "io.example.App",
    "Copy config.json.example to config.json.", "Copy .env.example to .env.", "cp app.toml.example app.toml",
    "uvicorn app:app --host 0.0.0.0 --port 8000", "It listens on 127.0.0.1:8000.", "ping 127.0.0.1",
    "Open http://127.0.0.1:8000 in a browser.", "Open http://localhost:3000 in a browser.",
    "git clone git@github.com:x/y.git", "git config user.email you@example.com", "curl example.com",
    "ssh user@example.org", "Is it order.id? Yes.", "namespace com.example.test", "http://[::1]:8000",
)  # fmt: skip
CHINESE = (
    "你好。版本1.2.3已发布。", "价格是3.5元。", "请打开README.md。", "使用Python。然后运行main.py。",
    "订单10487已取消。", "时间：10:30。", "他说：“好。”", "和/或", "见第2.1节。", "谢谢！",
    "これはテストです。次へ。", "バージョン2.0です。", "ファイルはmain.pyです。", "안녕하세요. 버전 1.2입니다.",
    "Node.js很流行。", "文件在docs/guide.md里。", "A、B、C。", "比例是1：2。", "第一．第二．第三",
    "约3.5小时／天",
)  # fmt: skip


def texts() -> tuple[str, ...]:
    """All ordinary texts."""
    return (*LINKS, *CONTACTS, *FILES, *VERSIONS, *PROSE, *CODE, *NUMBERS, *SETUP, *CHINESE)
