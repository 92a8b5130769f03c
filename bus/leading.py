"""Which provider a flow leads to, and on which terms."""

from .errors import BusError
from .flowtable import Key
from .grants import UNLIMITED, Limit
from .state import State


class Leading:
    """Chooses providers and installs flows."""

    def __init__(self, state: State) -> None:
        self._state = state

    def provider(self, capability: str, instance: str) -> str:
        """The instance, or the best provider if that is empty; raises BusError `unavailable`."""
        if not instance:
            return self._state.roster.best(capability)
        if capability not in self._state.roster.require(instance).provides:
            raise BusError("unavailable", f"{instance} does not provide {capability}")
        return instance

    def lead(self, caller: str, capability: str, request: int, *, again: bool) -> int:
        """Installs the caller's flow to a provider, for a call that may have been sent before;
        returns its number. Raises BusError."""
        flows = self._state.flows
        number = flows.find(Key(caller, capability))
        if again:
            provider = self._same_provider(number, capability, request)
        else:
            provider = self._sticky_provider(number, capability)
        number = flows.number(Key(caller, capability))
        self.install(number, provider, self.limit(caller, capability), request)
        return number

    def _same_provider(self, number: int | None, capability: str, request: int) -> str:
        """Who may have got this call before: only that one can tell whether it was answered.

        Raises `crashed` if that was another one than now, unless doing it twice does no harm.
        """
        flows, roster = self._state.flows, self._state.roster
        former = flows.provider(number) if number is not None else None
        if number is None or (former is None and not flows.is_orphan(number)):
            return roster.best(capability)  # nobody can have got it
        if former is not None and roster.serves(former, capability):
            if request >= flows.first(number) or roster.is_safe(former, capability):
                return former
        else:
            for other in roster.providers(capability):
                if roster.is_safe(other, capability):
                    return other
        raise BusError("crashed", "the call was lost before it was answered")

    def _sticky_provider(self, number: int | None, capability: str) -> str:
        """The best provider; the former one if it is as good or may have calls of this flow.

        A flow with open calls has one provider, so that after a new start of the hub they are
        repeated to the one that has them. So a call that waited behind the one with which the flow
        was looked up goes where younger ones may have gone directly meanwhile.
        """
        flows, roster = self._state.flows, self._state.roster
        best = roster.best(capability)
        former = flows.provider(number) if number is not None else None
        if number is None or former is None or not roster.serves(former, capability):
            return best
        if flows.is_current(number):
            return former
        even = flows.load(former) <= flows.load(best) + 1
        return former if even or flows.is_settled(number) or self._busy(number) else best

    def _busy(self, number: int) -> bool:
        # The flow is revoked when this is asked, so that no call can be opened meanwhile. A
        # datapath that has ended tells of no flow: what was open there is still to be repeated.
        rows = [row for row in self._state.datapath.flows() if row.number == number]
        return not rows or rows[0].open > 0

    def limit(self, caller: str, capability: str) -> Limit:
        """How much a caller may ask of a capability."""
        member = self._state.roster.members.get(caller)
        return member.grants.limits.get(capability, UNLIMITED) if member else UNLIMITED

    def install(self, number: int, provider: str, limit: Limit, request: int = 0) -> None:
        """Makes `provider` serve a flow within a limit, from this request of its caller on."""
        state = self._state
        key = state.flows.key(number)
        if key is None:
            return
        safe = state.roster.is_safe(provider, key.capability)
        flow = state.flows.assign(number, provider, request=request, safe=safe, limit=limit)
        state.datapath.install(flow)
        state.roster.picked(provider)
