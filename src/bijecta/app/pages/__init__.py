"""The pages of the app; each has a function ``page`` that draws it."""
