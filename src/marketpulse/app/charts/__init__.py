"""What a chart shows beside its bars: indicators of a person's choice, sessions, alerts, receipts."""
