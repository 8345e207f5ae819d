-- A coffee roaster's sales. Money is in whole euros, months are written 2025-03.

CREATE TABLE products (
  name TEXT PRIMARY KEY,
  category TEXT NOT NULL CHECK (category IN ('beans', 'equipment')),
  price INTEGER NOT NULL CHECK (price > 0),
  cost INTEGER NOT NULL CHECK (cost > 0)
);

CREATE TABLE sales (
  month TEXT NOT NULL,
  region TEXT NOT NULL,
  product TEXT NOT NULL REFERENCES products (name),
  units INTEGER NOT NULL CHECK (units >= 0),
  revenue INTEGER NOT NULL,
  PRIMARY KEY (month, region, product)
);

CREATE TABLE targets (
  year INTEGER NOT NULL,
  region TEXT NOT NULL,
  revenue INTEGER NOT NULL,
  PRIMARY KEY (year, region)
);
