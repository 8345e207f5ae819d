"""Knowledge graph of the shop's database and documents: searches it, and checks answers against it."""
