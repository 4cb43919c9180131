"""Who may bear which id: ids that are held, missing, assigned or our own."""

from __future__ import annotations

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from atbus import limits
from atbus.busid import BusId, Subnet
from atbus.errors import Status
from atbus.routing.admission import after_challenge, judge
from atbus.routing.applicant import (
    Admit,
    Applicant,
    Attach,
    Challenge,
    OwnNode,
    Registered,
    Replace,
)
from atbus.routing.record import Record
from atbus.routing.table import Position, owned_subnets
from atbus.wire.messages import Hello, Mode, RegisterRequest, Role
from tests.routing.applicants import (
    CHILD,
    ME,
    OWN,
    PEER,
    REGION,
    UPSTREAM,
    AdmissionCase,
    applicant,
    as_upstream,
    registered,
)


class SameIdTests(AdmissionCase):
    def test_a_data_connection(self) -> None:
        """
        A second connection of the process that holds the id joins it as data.

        Scenario: H17
        """
        who = applicant(CHILD)
        data = attrs.evolve(who, role=Role.DATA)
        self.assertEqual(judge(OWN, [registered(who)], data), Attach(bus_id=CHILD))

    def test_a_data_connection_to_nothing(self) -> None:
        """Data needs a control connection, of the same process."""
        data = attrs.evolve(applicant(CHILD), role=Role.DATA)
        self.assert_refused(judge(OWN, [], data), Status.UNKNOWN_ENDPOINT, "0x12340100")
        other = registered(applicant(CHILD, process="2"))
        self.assert_refused(judge(OWN, [other], data), Status.ID_CONFLICT, "2.1/1")

    def test_dialed_again(self) -> None:
        """A control stream from the same process and side replaces the one that must be dead."""
        who = applicant(CHILD)
        for dialled in (False, True):
            again = attrs.evolve(who, dialled=dialled)
            self.assertEqual(
                judge(OWN, [registered(who, dialled=dialled)], again),
                Replace(
                    bus_id=CHILD,
                    position=Position.DOWNSTREAM,
                    subnets=(Subnet(CHILD, 0),),
                    same_process=True,
                ),
            )

    def test_crossed_dials(self) -> None:
        """
        When two nodes dial each other, both keep the stream that the smaller id dialed, in
        whatever order the streams register on either side.
        """
        low, high = 0x1000, 0x2000
        for me, peer in ((low, high), (high, low)):
            own = OwnNode(bus_id=me)
            for new_is_ours in (True, False):
                who = attrs.evolve(applicant(peer), dialled=new_is_ours)
                holder = registered(who, Position.PEER, dialled=not new_is_ours)
                verdict = judge(own, [holder], who)
                if new_is_ours == (me == low):
                    self.assertIsInstance(verdict, Replace)
                else:
                    self.assert_refused(verdict, Status.CROSSED_DIAL, "0x1000")

    def test_a_dead_stream_does_not_cross(self) -> None:
        """Who is known to be dead is replaced, and so is an endpoint without control stream."""
        who = attrs.evolve(applicant(0x2000), dialled=False)
        crossing = registered(who, Position.PEER, dialled=True)
        own = OwnNode(bus_id=0x1000)
        self.assert_refused(judge(own, [crossing], who), Status.CROSSED_DIAL)
        for change in ({"alive": False}, {"control_dialled": None}):
            verdict = judge(own, [attrs.evolve(crossing, **change)], who)
            self.assertIsInstance(verdict, Replace)

    def test_who_is_above_stays_there(self) -> None:
        """
        By records a second stream between a node and its upstream ends, unless it says that again.

        Scenario: H24
        """
        for me in (0x1000, 0x3000):
            own = OwnNode(bus_id=me, by_records=True)
            peer = applicant(0x2000)
            below = attrs.evolve(peer, is_below=True)
            above = as_upstream(peer)
            for dialled in (False, True):
                again = attrs.evolve(peer, dialled=dialled)
                for position in (Position.UPSTREAM, Position.DOWNSTREAM):
                    holder = registered(peer, position, dialled=not dialled)
                    refused = judge(own, [holder], again)
                    self.assert_refused(refused, Status.CROSSED_DIAL, position.value)
                # An upstream has one itself: it has not moved.
                record = Record(bus_id=0x2000, upstream_id=0x99)
                holder = registered(peer, Position.UPSTREAM, dialled=not dialled)
                refused = judge(own, [holder], attrs.evolve(again, record=record))
                self.assert_refused(refused, Status.CROSSED_DIAL, "upstream")
                # What makes the other one more than a peer counts, whoever dialed first.
                holder = registered(peer, Position.PEER, dialled=dialled)
                for ranked, position in (
                    (attrs.evolve(below, dialled=not dialled), Position.DOWNSTREAM),
                    (above, Position.UPSTREAM),
                ):
                    verdict = judge(own, [holder], ranked)
                    assert isinstance(verdict, Replace), verdict
                    self.assertIs(verdict.position, position)
            moved = attrs.evolve(peer, record=Record(bus_id=0x2000, upstream_id=0x99))
            verdict = judge(own, [registered(peer, Position.DOWNSTREAM)], moved)
            assert isinstance(verdict, Replace), verdict
            self.assertIs(verdict.position, Position.PEER)
            coming = attrs.evolve(registered(peer, Position.DOWNSTREAM), came_from=0x99)
            self.assert_refused(judge(own, [coming], moved), Status.CROSSED_DIAL, "downstream")

    def test_a_second_process(self) -> None:
        """
        Another process under an id that is held has to wait until the holder was asked; the holder
        that answers keeps the id.

        Scenario: H16
        """
        holder = registered(applicant(CHILD))
        for who in (applicant(CHILD, process="2"), applicant(CHILD, host="elsewhere")):
            challenge = judge(OWN, [holder], who)
            assert isinstance(challenge, Challenge)
            self.assertEqual(challenge.holder, holder)
            verdict = after_challenge(challenge, True, OWN, [holder], who)
            self.assert_refused(verdict, Status.ID_CONFLICT, "0x12340100", "1.1/1", "there")

    def test_a_restarted_process(self) -> None:
        """A holder that does not answer loses its id to the newcomer, with all that it was."""
        holder = registered(applicant(CHILD, 4))
        who = applicant(CHILD, 8, process="2")
        expected = Replace(
            bus_id=CHILD,
            position=Position.DOWNSTREAM,
            subnets=(Subnet(CHILD, 8),),
            same_process=False,
        )
        challenge = judge(OWN, [holder], who)
        assert isinstance(challenge, Challenge)
        self.assertEqual(after_challenge(challenge, False, OWN, [holder], who), expected)
        known_dead = attrs.evolve(holder, alive=False)
        self.assertEqual(judge(OWN, [known_dead], who), expected)

    def test_the_world_changed_meanwhile(self) -> None:
        """What was decided about one holder does not count for the next, or when there is none."""
        holder = registered(applicant(CHILD))
        who = applicant(CHILD, process="2")
        challenge = Challenge(holder)
        for alive in (True, False):
            self.assert_admitted(
                after_challenge(challenge, alive, OWN, [], who), Position.DOWNSTREAM
            )
            third = registered(applicant(CHILD, process="3"))
            self.assertEqual(after_challenge(challenge, alive, OWN, [third], who), Challenge(third))

    def test_the_successor_has_to_fit_too(self) -> None:
        """Who takes an id over is checked like every newcomer."""
        holder = attrs.evolve(registered(applicant(CHILD)), alive=False)
        sibling = registered(applicant(CHILD + 1))
        who = applicant(CHILD, 4, process="2")
        self.assert_refused(judge(OWN, [holder, sibling], who), Status.SUBNET_CONFLICT)

    def test_our_own_id(self) -> None:
        """We do not register with ourselves, and nobody else registers under our id."""
        who = applicant(ME)
        self.assert_refused(judge(OWN, [], who), Status.ID_CONFLICT, "0x12345678")
        ourselves = attrs.evolve(who, host=OWN.host, process=OWN.process)
        self.assert_refused(judge(OWN, [], ourselves), Status.SELF_CONNECT)

    def test_a_bound_connection(self) -> None:
        """
        A connection that belongs to one id does not register another.

        Scenario: H18
        """
        who = attrs.evolve(applicant(CHILD), bound_id=PEER)
        self.assert_refused(judge(OWN, [], who), Status.BUS_ID_MISMATCH, "0x22340001", "0x12340100")
        fits = attrs.evolve(who, bound_id=CHILD)
        self.assert_admitted(judge(OWN, [], fits), Position.DOWNSTREAM)


class ModeTests(AdmissionCase):
    def test_temporary(self) -> None:
        """A temporary node is taken without becoming anybody's route, as often as it comes."""
        who = Applicant(bus_id=0, mode=Mode.TEMPORARY, subnets=(Subnet(ME, 16),))
        taken = Admit(bus_id=BusId(0), position=Position.PEER, subnets=())
        self.assertEqual(judge(OWN, [], who), taken)
        other = Registered(
            bus_id=0, subnets=(Subnet(ME, 16),), position=Position.PEER, temporary=True
        )
        self.assertEqual(judge(OWN, [other], who), taken)
        self.assert_admitted(judge(OWN, [other], applicant(CHILD)), Position.DOWNSTREAM)
        data = attrs.evolve(who, role=Role.DATA)
        self.assert_refused(judge(OWN, [], data), Status.UNKNOWN_ENDPOINT)

    def test_the_id_fits_the_mode(self) -> None:
        """Only a node has an id, every node has one, and who can be dialed is a node."""
        self.assert_refused(judge(OWN, [], Applicant(bus_id=0)), Status.INVALID_ID, "NODE")
        for mode in (Mode.TEMPORARY, Mode.AUTO):
            who = Applicant(bus_id=CHILD, mode=mode)
            self.assert_refused(judge(OWN, [], who), Status.INVALID_ID, mode.name, "0x12340100")
            listener = Applicant(bus_id=0, mode=mode, dialled=True)
            self.assert_refused(judge(OWN, [], listener), Status.INVALID_ID, mode.name)

    def test_seen_by_a_temporary_node(self) -> None:
        """A temporary node takes whom it dials, whatever their ranges, and has an upstream too."""
        own = OwnNode(bus_id=0, temporary=True)
        wide = attrs.evolve(applicant(REGION, 24), dialled=True)
        narrow = attrs.evolve(applicant(ME, 16), dialled=True)
        self.assert_admitted(judge(own, [registered(wide, Position.PEER)], narrow), Position.PEER)
        chosen = attrs.evolve(wide, to_upstream=True)
        self.assert_admitted(judge(own, [], chosen), Position.UPSTREAM)

    def test_a_node_without_its_id_yet(self) -> None:
        """A node that waits for its id takes nobody but the upstream that will assign it."""
        own = OwnNode(bus_id=0)
        chosen = as_upstream(applicant(REGION, 24))
        self.assert_admitted(judge(own, [], chosen), Position.UPSTREAM)
        self.assert_refused(judge(own, [], applicant(PEER)), Status.NOT_ADMITTED)

    def test_read_from_the_wire(self) -> None:
        """What was received is judged as it was said."""
        nonce = bytes(limits.NONCE_BYTES)
        hello = Hello(
            source=CHILD,
            version_min=1,
            version_max=1,
            capabilities=0,
            role=Role.CONTROL,
            mode=Mode.NODE,
            nonce=nonce,
            frame_max=limits.FRAME_BYTES,
        )
        request = RegisterRequest(
            host="there", process="1.1/1", subnets=(Subnet(CHILD, 0),), wanted_id=5
        )
        expected = attrs.evolve(applicant(CHILD), wanted_id=5, dialled=True, bound_id=CHILD)
        self.assertEqual(Applicant.of(hello, request, dialled=True, bound_id=CHILD), expected)


class AutomaticTests(AdmissionCase):
    def auto(self, wanted_id: int = 0, role: Role = Role.CONTROL) -> Applicant:
        """Make an automatic node that says this."""
        fresh = Applicant(bus_id=0, mode=Mode.AUTO, host="there", process="1.1/1")
        return attrs.evolve(fresh, wanted_id=wanted_id, role=role)

    def test_a_free_id(self) -> None:
        """An automatic node gets an id inside our range that nobody has, and owns only that."""
        own = attrs.evolve(OWN, subnets=(Subnet(ME, 2),), reserved_subnets=(Subnet(ME + 1, 0),))
        holders = [registered(applicant(ME + 2)), UPSTREAM]
        free = BusId(ME + 3)
        for number in range(5):
            self.assertEqual(
                judge(own, holders, self.auto(), number),
                Admit(bus_id=free, position=Position.DOWNSTREAM, subnets=(Subnet(free, 0),)),
            )

    def test_full(self) -> None:
        """When every id is taken, or we have none to give, the node is told so."""
        own = attrs.evolve(OWN, subnets=(Subnet(ME, 1),))
        holder = registered(applicant(ME + 1))
        self.assert_refused(judge(own, [holder], self.auto()), Status.NO_FREE_ID, "0x12345678/1")
        self.assert_refused(judge(OwnNode(bus_id=ME), [], self.auto()), Status.NO_FREE_ID)

    def test_within_what_is_accepted(self) -> None:
        """An assigned id is one that would be accepted."""
        own = attrs.evolve(OWN, accept_subnets=(Subnet(CHILD, 1), Subnet(PEER, 16)))
        for number in range(4):
            verdict = judge(own, [], self.auto(), number)
            assert isinstance(verdict, Admit)
            self.assertEqual(verdict.bus_id, CHILD + number % 2)

    def test_the_former_id(self) -> None:
        """A node gets the id back that it had, unless it is taken or not ours to give."""
        verdict = judge(OWN, [], self.auto(wanted_id=CHILD), 1)
        assert isinstance(verdict, Admit)
        self.assertEqual(verdict.bus_id, CHILD)
        foreign = registered(applicant(CHILD, process="2"))
        for holders, wanted in (([foreign], CHILD), ([], PEER), ([], ME)):
            verdict = judge(OWN, holders, self.auto(wanted_id=wanted), 1)
            assert isinstance(verdict, Admit)
            self.assertNotEqual(verdict.bus_id, wanted)

    def test_ids_of_those_who_may_come_back(self) -> None:
        """They are given last of all, also to who had one before; reserved ones never are."""
        own = attrs.evolve(
            OWN,
            subnets=(Subnet(ME, 2),),
            former_subnets=(Subnet(ME + 2, 1),),
            reserved_subnets=(Subnet(ME + 3, 0),),
        )
        holder = registered(applicant(ME + 1))
        for wanted in (0, ME + 2):
            for holders, assigned in (([], ME + 1), ([holder], ME + 2)):
                verdict = judge(own, holders, self.auto(wanted_id=wanted), 1)
                assert isinstance(verdict, Admit)
                self.assertEqual(verdict.bus_id, assigned)
        both = [holder, registered(applicant(ME + 2, process="2"))]
        self.assert_refused(judge(own, both, self.auto()), Status.NO_FREE_ID)

    def test_a_range_of_its_own(self) -> None:
        """A node that wants a range gets an id around which it is free, and owns it."""
        own = attrs.evolve(OWN, subnets=(Subnet(ME, 8),))
        holders = [registered(applicant(ME ^ 0x80, 7))]
        proxy = attrs.evolve(self.auto(), subnets=(Subnet(0, 4),))
        for number in range(40):
            verdict = judge(own, holders, proxy, number)
            assert isinstance(verdict, Admit)
            self.assertEqual(verdict.subnets, (Subnet(verdict.bus_id, 4),))
            self.assertFalse(verdict.subnets[0].contains(ME))
            self.assertFalse(verdict.subnets[0].overlaps(holders[0].subnets[0]))
        wide = attrs.evolve(proxy, subnets=(Subnet(0, 7),))
        self.assert_refused(judge(own, holders, wide), Status.NO_FREE_ID, "range of 7 bits")

    def test_the_former_range(self) -> None:
        """A node gets its id back only while the range around it is free."""
        proxy = attrs.evolve(self.auto(wanted_id=CHILD), subnets=(Subnet(0, 4),))
        verdict = judge(OWN, [], proxy, 1)
        assert isinstance(verdict, Admit)
        self.assertEqual(verdict.bus_id, CHILD)
        verdict = judge(OWN, [registered(applicant(CHILD + 1))], proxy, 1)
        assert isinstance(verdict, Admit)
        self.assertFalse(verdict.subnets[0].overlaps(Subnet(CHILD, 4)))

    def test_further_connections(self) -> None:
        """An automatic node that dials again keeps its id, and its data connection finds it."""
        holder = registered(applicant(CHILD))
        again = judge(OWN, [holder], self.auto(wanted_id=CHILD))
        assert isinstance(again, Replace)
        self.assertEqual(again.bus_id, CHILD)
        data = self.auto(wanted_id=CHILD, role=Role.DATA)
        self.assertEqual(judge(OWN, [holder], data), Attach(bus_id=CHILD))
        self.assert_refused(judge(OWN, [], data), Status.UNKNOWN_ENDPOINT, "0x12340100")

    @settings(deadline=None)
    @given(
        nodes=st.lists(st.tuples(st.integers(1, 31), st.integers(0, 3)), max_size=5),
        number=st.integers(0, 2**64),
    )
    def test_always_free(self, *, nodes: list[tuple[int, int]], number: int) -> None:
        """Whoever is there, an assigned id is ours, nobody's yet, and not our own."""
        own = OwnNode(bus_id=7, subnets=(Subnet(0, 5),))
        holders: list[Registered] = []
        for bus_id, bits in nodes:
            who = applicant(bus_id, bits)
            if isinstance(judge(own, holders, who), Admit):
                holders.append(registered(who))
        verdict = judge(own, holders, self.auto(), number)
        assert isinstance(verdict, Admit), verdict
        self.assertIn(verdict.bus_id, range(1, 32))
        self.assertNotEqual(verdict.bus_id, 7)
        for each in holders:
            for subnet in owned_subnets(each.bus_id, each.subnets):
                self.assertFalse(subnet.contains(verdict.bus_id))
