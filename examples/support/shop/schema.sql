-- The shop. Money is in cents, dates are ISO days; "today" is a row of settings, so that windows are reproducible.

CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);

CREATE TABLE customers (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  email TEXT NOT NULL UNIQUE,
  phone TEXT NOT NULL,
  joined_on TEXT NOT NULL
);

CREATE TABLE addresses (
  id INTEGER PRIMARY KEY,
  customer_id INTEGER NOT NULL REFERENCES customers (id),
  label TEXT NOT NULL CHECK (label IN ('home', 'work')),
  address TEXT NOT NULL
);

CREATE TABLE products (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  category TEXT NOT NULL,
  price_cents INTEGER NOT NULL CHECK (price_cents > 0),
  stock INTEGER NOT NULL CHECK (stock >= 0),
  warranty_months INTEGER NOT NULL,
  final_sale INTEGER NOT NULL CHECK (final_sale IN (0, 1))
);

CREATE TABLE orders (
  id INTEGER PRIMARY KEY,
  customer_id INTEGER NOT NULL REFERENCES customers (id),
  status TEXT NOT NULL CHECK (status IN ('processing', 'shipped', 'delivered', 'cancelled')),
  placed_on TEXT NOT NULL,
  shipped_on TEXT,
  delivered_on TEXT,
  address TEXT NOT NULL,
  total_cents INTEGER NOT NULL CHECK (total_cents > 0),
  payment TEXT NOT NULL CHECK (payment IN ('card', 'paypal', 'invoice', 'gift card')),
  note TEXT NOT NULL DEFAULT ''
);

CREATE TABLE order_items (
  order_id INTEGER NOT NULL REFERENCES orders (id),
  product_id INTEGER NOT NULL REFERENCES products (id),
  quantity INTEGER NOT NULL CHECK (quantity > 0),
  price_cents INTEGER NOT NULL,
  PRIMARY KEY (order_id, product_id)
);

CREATE TABLE deliveries (
  order_id INTEGER PRIMARY KEY REFERENCES orders (id),
  carrier TEXT NOT NULL,
  tracking TEXT NOT NULL UNIQUE,
  status TEXT NOT NULL CHECK (status IN ('in transit', 'out for delivery', 'delayed', 'delivered', 'lost')),
  expected_on TEXT NOT NULL,
  place TEXT NOT NULL
);

CREATE TABLE refunds (
  id INTEGER PRIMARY KEY,
  order_id INTEGER NOT NULL REFERENCES orders (id),
  amount_cents INTEGER NOT NULL CHECK (amount_cents > 0),
  reason TEXT NOT NULL,
  created_on TEXT NOT NULL
);

CREATE TABLE handovers (
  id INTEGER PRIMARY KEY,
  order_id INTEGER REFERENCES orders (id),
  session_id TEXT NOT NULL,
  reason TEXT NOT NULL,
  created_on TEXT NOT NULL,
  status TEXT NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'done'))
);

CREATE INDEX orders_by_customer ON orders (customer_id, placed_on);
CREATE INDEX addresses_by_customer ON addresses (customer_id);
CREATE INDEX refunds_by_order ON refunds (order_id);

-- No order is ever paid back more than it cost, whoever writes.
CREATE TRIGGER refunds_within_total BEFORE INSERT ON refunds
WHEN NEW.amount_cents + (SELECT COALESCE(SUM(amount_cents), 0) FROM refunds WHERE order_id = NEW.order_id)
  > (SELECT total_cents FROM orders WHERE id = NEW.order_id)
BEGIN
  SELECT RAISE(ABORT, 'refunds exceed the total of the order');
END;
