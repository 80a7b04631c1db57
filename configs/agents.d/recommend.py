"""An example of a python agent. Without a daemon: `await agent.handle_locally("scoring@2", "c-17")`."""

from typing import TypedDict

from meshd.sdk import Agent, Context, TaskError

agent = Agent("sales-recommendation")


class Profile(TypedDict):
    """What is known of a customer."""

    orders: int
    returns: int


CUSTOMERS: dict[str, Profile] = {"c-17": {"orders": 9, "returns": 1}, "c-18": {"orders": 0, "returns": 0}}


@agent.handles("crm_lookup@1")
def look_up(customer: str) -> Profile:
    """The profile of one customer."""
    if customer not in CUSTOMERS:
        raise TaskError(f"no customer is called {customer}")  # retry=True would say that another try may help
    return CUSTOMERS[customer]


@agent.handles("scoring@2")  # schemas come from the signature
async def score(ctx: Context, customer: str) -> float:
    """How likely a customer takes an offer, from 0 to 1."""
    profile: Profile = await ctx.call("crm_lookup@1", customer)
    await ctx.step("profile read", fields=len(profile))
    return rate(profile)


def rate(profile: Profile) -> float:
    """Orders that were kept, smoothed so that a new customer is neither sure nor lost."""
    return (profile["orders"] - profile["returns"] + 1) / (profile["orders"] + 2)
