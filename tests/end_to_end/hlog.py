"""Reads a log of histograms by HdrHistogram for Python, and prints what it finds as JSON: for each
tag its intervals, each with start and length in seconds, count, least, greatest and mean value."""

import json
import sys

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

found = {}
# Its bounds and digits are those of what values are added to, which must hold all.
reader = HistogramLogReader(sys.argv[1], HdrHistogram(1, 60_000_000_000, 3))
while True:
    histogram = reader.get_next_interval_histogram()
    if histogram is None:
        break
    assert histogram.get_total_count() > 0, "an empty line"
    found.setdefault(histogram.get_tag(), []).append(
        {
            "start": histogram.get_start_time_stamp() / 1000,
            "length": (histogram.get_end_time_stamp() - histogram.get_start_time_stamp()) / 1000,
            "count": histogram.get_total_count(),
            "min": histogram.get_min_value(),
            "max": histogram.get_max_value(),
            "mean": histogram.get_mean_value(),
        }
    )
print(json.dumps(found))
