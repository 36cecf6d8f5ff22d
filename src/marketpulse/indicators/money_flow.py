"""Money flow volume: the volume times the place of the close in the bar's range, what `ad`, `adosc` and `cmf` add up."""

from marketpulse.compiled import kernel
from marketpulse.indicators.arithmetic import shown


@kernel
def money_flow_volume(high: float, low: float, close: float, volume: float) -> float:
    """From -volume (closed at the low) to +volume (closed at the high); 0 for a bar without a range."""
    return ((close - low) - (high - close)) / (high - low) * volume if high > low else 0.0


def money_flow_step(high: float, low: float, close: float, volume: float) -> tuple[str, float]:
    """`money_flow_volume` in words."""
    value = float(money_flow_volume(high, low, close, volume))
    if not high > low:
        return f"high = low = {shown(high)}: money flow volume = 0", value
    parts = f"(({shown(close)} - {shown(low)}) - ({shown(high)} - {shown(close)})) / ({shown(high)} - {shown(low)}) * {shown(volume)}"
    formula = "((close - low) - (high - close)) / (high - low) * volume"
    return f"money flow volume = {formula} = {parts} = {shown(value)}", value
