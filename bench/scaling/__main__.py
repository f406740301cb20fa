"""`python -m bench.scaling` writes the table and the plots of docs/design/scaling.md again."""

from bench.scaling.page import PAGE, PLOTS, compare, plot, rewrite, table

comparisons = compare()
PAGE.write_text(rewrite(PAGE.read_text(), table(comparisons)))
PLOTS.mkdir(exist_ok=True)
for comparison in comparisons:
    plot(comparison, PLOTS / f"{comparison.trace.name}.svg")
