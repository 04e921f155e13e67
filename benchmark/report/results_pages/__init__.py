"""The pages of `docs/results`, made from the published records alone: `make results`.

`pages` plans and builds them, `head` says which method is best, `leaderboard` and `sections` make the tables,
`pictures` the figures, `index` the first page, `layout` reads what is written by hand, `markdown` lays text out.
"""
