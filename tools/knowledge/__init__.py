"""Knowledge graph of a project's database and documents: searches it, and checks answers against it."""
