"""All pictures of a study, in the order in which the report shows them."""

from analysis import (
    chart_checks,
    chart_cost,
    chart_law,
    chart_losses,
    chart_profiles,
    chart_researcher,
    chart_residuals,
    chart_savings,
    chart_trials,
)
from analysis.style import Picture

PICTURES: tuple[Picture, ...] = (
    chart_savings.PICTURE,
    chart_losses.PICTURE,
    chart_law.PICTURE,
    chart_profiles.PICTURE,
    chart_residuals.PICTURE,
    chart_trials.PICTURE,
    chart_cost.PICTURE,
    chart_checks.PICTURE,
)
# Shown in the section on the researcher, and only where there is something to draw.
RESEARCHER_PICTURES: tuple[Picture, ...] = (chart_researcher.PICTURE,)
