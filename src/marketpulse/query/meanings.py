"""What one row of each view is, for people who look for where to ask."""

MEANINGS = {
    "trades": "One execution.",
    "quotes": "A best bid and ask.",
    "events": "What else the log heard: a source's own bars, halts, splits, gaps.",
    "bars": "One bar of one timeframe, as its last revision says.",
    "bars_history": "Every revision of every bar.",
    "indicators": "One bar's indicator values, as their last revision says.",
    "indicators_history": "Every revision of every bar's values.",
    "alerts": "One change of an alert, as its last revision says.",
    "alerts_history": "Everything that was told of alerts, what was withdrawn among it.",
    "dead_letters": "A record that was set aside, with its reason.",
    "stock_data": "One execution (kind trade) or, of a symbol without any, one of its smallest bars (kind bar), by the names of many tutorials.",
    "corporate_actions": "A split or dividend, as it was told last.",
    "bars_adjusted": "A bar, its prices and volume adjusted for the splits after it.",
    "bars_total_return": "The same, adjusted for dividends too.",
}
"""By view, for all of query/views.py's VIEWS."""
