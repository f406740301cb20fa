"""The chart's Grafana dashboards, as code: `python -m dashboards` writes charts/penstock/files/dashboards.

panels.py      what a panel is here: always with a description, a unit, and queries that this file names
promql.py      the pieces that queries are made of, and how labels of different parts are joined
overview.py    all streams
stream.py      one stream in depth
operator.py    the operator and its webhook
"""
