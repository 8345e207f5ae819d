"""Names in the seeded shop: people, streets, carriers and products."""

from __future__ import annotations


def _split(text: str, separator: str | None = None) -> tuple[str, ...]:
    return tuple(text.split(separator))


FIRST_NAMES = _split(
    "Ada Amir Anna Ben Bruno Carla Chen Clara David Dilan Elena Emil Eva Farah Felix Fiona Georg Grace Hana Henry Ida "
    "Ivan Jana Jonas Julia Kai Karim Laura Leo Lina Luca Maja Marco Maria Mila Nadia Nils Noah Olga Omar Paula Pedro "
    "Priya Rosa Ruben Sara Sofia Tariq Tom Vera Yusuf Zoe"
)
LAST_NAMES = _split(
    "Adler Almeida Andersen Bauer Becker Bianchi Brandt Castro Costa Dubois Eriksen Fischer Fontana Garcia Haas Hansen "
    "Horvat Ivanova Jansen Kaya Keller Kowalski Larsen Lehmann Lindqvist Marino Meyer Moreau Nagy Novak Okafor Olsen "
    "Petrov Popescu Rahman Ricci Rossi Santos Schmidt Silva Singh Sommer Tanaka Varga Vogel Weber Winter Yilmaz Zhang"
)
STREETS = _split(
    "Birch Lane|Canal Street|Castle Road|Cedar Avenue|Church Street|Garden Way|Harbour Road|High Street|Hill Street|"
    "Lake Road|Linden Street|Market Square|Meadow Lane|Mill Road|Oak Street|Park Avenue|River Street|School Lane|"
    "Station Road|Sunny Hill",
    "|",
)
CITIES = _split(
    "Amsterdam 1012|Antwerp 2000|Berlin 10115|Bologna 40121|Bremen 28195|Brno 60200|Cologne 50667|Dublin D02|"
    "Graz 8010|Hamburg 20095|Leipzig 04109|Lisbon 1100|Lyon 69001|Malmo 21120|Munich 80331|Nantes 44000|Porto 4000|"
    "Rotterdam 3011|Utrecht 3511|Vienna 1010",
    "|",
)
CARRIERS = ("Northpost", "SwiftParcel", "BlueVan")
NOTES = (
    "Please leave it with the neighbour.",
    "The bell is broken, please knock.",
    "It is a present, no invoice in the box please.",
    "Call before you deliver.",
    "Leave at the back door.",
)
REFUND_REASONS = ("arrived damaged", "wrong size", "changed my mind", "item missing", "late delivery")
HANDOVER_REASONS = ("asks for a person", "complaint about the courier", "warranty case", "invoice for a company")

# name, category, price in cents, warranty in months, final sale
PRODUCTS = (
    ("Trail Backpack 30L", "outdoor", 7990, 24, 0),
    ("Two-Person Tent", "outdoor", 14900, 24, 0),
    ("Down Sleeping Bag", "outdoor", 12900, 24, 0),
    ("Camping Stove", "outdoor", 4490, 24, 0),
    ("Headlamp", "outdoor", 2990, 24, 0),
    ("Steel Water Bottle", "outdoor", 1990, 24, 0),
    ("Rain Jacket", "clothing", 8990, 12, 0),
    ("Merino Sweater", "clothing", 6990, 12, 0),
    ("Wool Socks", "clothing", 1290, 12, 0),
    ("Running Shoes", "clothing", 10990, 12, 0),
    ("Linen Shirt", "clothing", 4990, 12, 0),
    ("Winter Gloves", "clothing", 2490, 12, 0),
    ("Espresso Machine", "kitchen", 24900, 36, 0),
    ("Pour-Over Kettle", "kitchen", 5990, 24, 0),
    ("Coffee Grinder", "kitchen", 8990, 24, 0),
    ("Cast Iron Pan", "kitchen", 4990, 60, 0),
    ("Chef's Knife", "kitchen", 6490, 60, 0),
    ("Stand Mixer", "kitchen", 29900, 36, 0),
    ("Bread Tin", "kitchen", 1790, 24, 0),
    ("Glass Food Boxes", "kitchen", 2990, 12, 0),
    ("Desk Lamp", "home", 3990, 24, 0),
    ("Wall Clock", "home", 2790, 24, 0),
    ("Cotton Bed Linen", "home", 5990, 12, 0),
    ("Feather Pillow", "home", 3490, 12, 0),
    ("Scented Candle", "home", 1590, 0, 0),
    ("Floor Mirror", "home", 11900, 24, 0),
    ("Bookshelf", "home", 15900, 24, 0),
    ("Wireless Headphones", "electronics", 12900, 24, 0),
    ("Bluetooth Speaker", "electronics", 5990, 24, 0),
    ("E-Reader", "electronics", 13900, 24, 0),
    ("USB-C Charger", "electronics", 2490, 24, 0),
    ("Fitness Watch", "electronics", 17900, 24, 0),
    ("Mechanical Keyboard", "electronics", 9990, 24, 0),
    ("Webcam", "electronics", 6990, 24, 0),
    ("Board Game Harbour", "games", 3990, 12, 0),
    ("Puzzle 1000 Pieces", "games", 1690, 12, 0),
    ("Clearance Lamp Shade", "outlet", 1190, 0, 1),
    ("Clearance Rug", "outlet", 3990, 0, 1),
    ("Clearance Raincoat", "outlet", 2990, 0, 1),
    ("Clearance Phone Case", "outlet", 690, 0, 1),
)
