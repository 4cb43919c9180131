"""Who may register, as what, and who is told which reason."""

from __future__ import annotations

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from atbus.address import parse_address
from atbus.busid import Subnet
from atbus.errors import Status
from atbus.routing.admission import judge
from atbus.routing.applicant import (
    Admit,
    Applicant,
    OwnNode,
    Registered,
    Rejected,
    Replace,
)
from atbus.routing.policy import Action, Rule
from atbus.routing.record import Record
from atbus.routing.table import Position
from atbus.wire.messages import Hello, Mode, NodeFlag, RegisterRequest
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


class PositionTests(AdmissionCase):
    def test_a_child(self) -> None:
        """A node inside our range becomes a downstream and owns its id beside its subnets."""
        who = attrs.evolve(applicant(CHILD), subnets=(Subnet(0x12340200, 8),))
        self.assertEqual(
            judge(OWN, [], who),
            Admit(
                bus_id=CHILD,
                position=Position.DOWNSTREAM,
                subnets=(Subnet(CHILD, 0), Subnet(0x12340200, 8)),
            ),
        )

    def test_a_child_in_a_second_range(self) -> None:
        """
        A child outside our own prefix but inside our second range registers.

        Scenario: H11
        """
        own = attrs.evolve(OWN, subnets=(Subnet(ME, 16), Subnet(0x22345678, 16)))
        self.assert_admitted(judge(own, [], applicant(0x22340100, 8)), Position.DOWNSTREAM)

    def test_a_peer(self) -> None:
        """
        Two nodes that contain nothing of each other register as peers.

        Scenario: H14
        """
        peer = OwnNode(bus_id=PEER, subnets=(Subnet(PEER, 16),))
        self.assert_admitted(judge(OWN, [], applicant(PEER, 16)), Position.PEER)
        self.assert_admitted(judge(peer, [], applicant(ME, 16)), Position.PEER)

    def test_the_upstream_is_who_we_dialed_as_such(self) -> None:
        """
        A node whose range contains ours is upstream when it is configured as upstream, by address
        or by id, and is refused otherwise, whoever dialed.
        """
        around = applicant(REGION, 24)
        chosen = as_upstream(around)
        self.assert_admitted(judge(OWN, [], chosen), Position.UPSTREAM)
        known = attrs.evolve(OWN, upstream_id=REGION)
        self.assert_admitted(judge(known, [], around), Position.UPSTREAM)
        for dialled in (False, True):
            stranger = attrs.evolve(around, dialled=dialled)
            self.assert_refused(
                judge(OWN, [], stranger), Status.SUBNET_CONFLICT, "0x12000000/24", "0x12345678"
            )

    def test_a_second_upstream(self) -> None:
        """
        A node has one upstream at a time; the second is refused.

        Scenario: H19
        """
        second = as_upstream(applicant(0x12EE0001, 24))
        self.assert_refused(
            judge(OWN, [UPSTREAM], second), Status.SECOND_UPSTREAM, "0x12ff0001", "0x12ee0001"
        )

    def test_an_upstream_that_is_none(self) -> None:
        """The upstream contains all that is ours, and is not below us itself."""
        own = attrs.evolve(OWN, subnets=(Subnet(ME, 16), Subnet(PEER, 16)))
        self.assert_refused(
            judge(own, [], as_upstream(applicant(REGION, 24))),
            Status.SUBNET_CONFLICT,
            "0x12ff0001",
            "0x22340000/16",
        )
        self.assert_refused(
            judge(OWN, [], as_upstream(applicant(REGION, 0))), Status.SUBNET_CONFLICT
        )
        self.assert_refused(
            judge(OWN, [], as_upstream(applicant(CHILD, 24))), Status.SUBNET_CONFLICT
        )

    def test_nobody_below(self) -> None:
        """A node that accepts no downstreams still has peers."""
        own = attrs.evolve(OWN, accepts_downstreams=False)
        self.assert_refused(judge(own, [], applicant(CHILD)), Status.NOT_ADMITTED, "0x12340100")
        self.assert_admitted(judge(own, [], applicant(PEER)), Position.PEER)

    def test_accepted_subnets(self) -> None:
        """Where accepted subnets are configured, all of a neighbor but the upstream is in them."""
        own = attrs.evolve(OWN, accept_subnets=(Subnet(CHILD, 8), Subnet(PEER, 16)))
        self.assert_admitted(judge(own, [], applicant(CHILD, 4)), Position.DOWNSTREAM)
        self.assert_admitted(judge(own, [], applicant(PEER, 16)), Position.PEER)
        self.assert_refused(
            judge(own, [], applicant(0x12340200)), Status.NOT_ADMITTED, "0x12340200/0"
        )
        self.assert_refused(judge(own, [], applicant(PEER, 17)), Status.NOT_ADMITTED)
        chosen = as_upstream(applicant(REGION, 24))
        self.assert_admitted(judge(own, [], chosen), Position.UPSTREAM)

    def test_a_full_house(self) -> None:
        """Beyond the limit newcomers are refused; the upstream and who is known are not."""
        own = attrs.evolve(OWN, endpoints_max=2)
        holders = [registered(applicant(0x12340001)), registered(applicant(0x12340002))]
        self.assert_refused(judge(own, holders, applicant(CHILD)), Status.OVERLOADED, "2")
        temporary = Applicant(bus_id=0, mode=Mode.TEMPORARY)
        self.assert_refused(judge(own, holders, temporary), Status.OVERLOADED)
        chosen = as_upstream(applicant(REGION, 24))
        self.assert_admitted(judge(own, holders, chosen), Position.UPSTREAM)
        self.assertIsInstance(judge(own, holders, applicant(0x12340001)), Replace)


class SubnetTests(AdmissionCase):
    def test_the_second_of_two_children(self) -> None:
        """
        Of two children with the same range the second is refused; a node around us is let in as
        upstream when it is one, and the next such node is not.

        Scenario: A17
        """
        first = applicant(0x12345679, 8)
        own = attrs.evolve(OWN, bus_id=0x12340001)
        self.assert_admitted(judge(own, [], first), Position.DOWNSTREAM)
        self.assert_refused(
            judge(own, [registered(first)], applicant(0x12345680, 8)),
            Status.SUBNET_CONFLICT,
            "0x12345600/8 of 0x12345680",
            "of 0x12345679",
        )
        above = as_upstream(applicant(0x12355680, 24))
        self.assert_admitted(judge(own, [registered(first)], above), Position.UPSTREAM)
        both = [registered(first), registered(above, Position.UPSTREAM)]
        other = as_upstream(applicant(0x12365680, 24))
        self.assert_refused(judge(own, both, other), Status.SECOND_UPSTREAM)

    def test_a_child_that_reaches_out(self) -> None:
        """A child owns nothing outside our ranges, and not our own id."""
        self.assert_refused(
            judge(OWN, [], applicant(CHILD, 17)), Status.SUBNET_CONFLICT, "0x12340000/17"
        )
        who = attrs.evolve(applicant(CHILD), subnets=(Subnet(PEER, 4),))
        self.assert_refused(judge(OWN, [], who), Status.SUBNET_CONFLICT, "0x22340000/4")
        self.assert_refused(
            judge(OWN, [], applicant(0x12345679, 1)), Status.SUBNET_CONFLICT, "0x12345678"
        )

    def test_a_peer_that_reaches_in(self) -> None:
        """A peer owns nothing of ours."""
        who = attrs.evolve(applicant(PEER), subnets=(Subnet(CHILD, 4),))
        self.assert_refused(
            judge(OWN, [], who), Status.SUBNET_CONFLICT, "0x12340100/4", "0x12340000/16"
        )

    def test_a_sibling_inside_the_upstream(self) -> None:
        """The upstream's range goes around its children, but its own id is nobody else's."""
        sibling = 0x12350001
        self.assert_admitted(judge(OWN, [UPSTREAM], applicant(sibling, 16)), Position.PEER)
        who = attrs.evolve(applicant(sibling), subnets=(Subnet(REGION, 4),))
        self.assert_refused(judge(OWN, [UPSTREAM], who), Status.SUBNET_CONFLICT, "0x12ff0001/0")

    def test_the_id_of_a_neighbor(self) -> None:
        """A neighbor owns its id also where nobody said so."""
        alone = attrs.evolve(registered(applicant(CHILD)), subnets=())
        self.assert_refused(
            judge(OWN, [alone], applicant(CHILD + 1, 4)), Status.SUBNET_CONFLICT, "0x12340100/0"
        )

    @settings(deadline=None)
    @given(
        one=st.tuples(st.integers(1, 255), st.integers(0, 7)),
        other=st.tuples(st.integers(1, 255), st.integers(0, 7)),
    )
    def test_whoever_comes_first(self, *, one: tuple[int, int], other: tuple[int, int]) -> None:
        """
        Two children that conflict do so in either order; only the second to come is refused.

        Scenario: H15
        """
        own = OwnNode(bus_id=0x1200, subnets=(Subnet(0, 8), Subnet(0x1200, 8)))
        first, second = applicant(*one), applicant(*other)
        outcomes = set()
        for early, late in ((first, second), (second, first)):
            holder = judge(own, [], early)
            self.assert_admitted(holder, Position.DOWNSTREAM)
            outcomes.add(type(judge(own, [registered(early)], late)))
        self.assertEqual(len(outcomes), 1)

    @settings(deadline=None)
    @given(
        one=st.tuples(st.integers(1, 255), st.integers(0, 7)),
        other=st.tuples(st.integers(1, 255), st.integers(0, 7)),
    )
    def test_both_sides_agree(self, *, one: tuple[int, int], other: tuple[int, int]) -> None:
        """What one node takes for a peer takes the first for a peer too, and for nothing else."""
        nodes = [OwnNode(bus_id=each[0], subnets=(Subnet(*each),)) for each in (one, other)]
        if one[0] == other[0]:
            return
        here = judge(nodes[0], [], applicant(*other))
        there = judge(nodes[1], [], applicant(*one))
        are_peers = [
            isinstance(verdict, Admit) and verdict.position is Position.PEER
            for verdict in (here, there)
        ]
        self.assertEqual(are_peers[0], are_peers[1])
        self.assertEqual(are_peers[0], not nodes[0].subnets[0].overlaps(nodes[1].subnets[0]))
        if not are_peers[0]:
            self.assertTrue(isinstance(here, Rejected) or isinstance(there, Rejected))

    @settings(deadline=None)
    @given(nodes=st.lists(st.tuples(st.integers(1, 63), st.integers(0, 4)), max_size=6))
    def test_owners_stay_apart(self, *, nodes: list[tuple[int, int]]) -> None:
        """However nodes come, no id belongs to two that were let in, nor to one and us."""
        own = OwnNode(bus_id=50, subnets=(Subnet(0, 5),))
        holders: list[Registered] = []
        for bus_id, bits in nodes:
            if bus_id not in [each.bus_id for each in holders]:
                who = applicant(bus_id, bits)
                verdict = judge(own, holders, who)
                if isinstance(verdict, Admit):
                    holders.append(registered(who, verdict.position))
        owned = [each.subnets for each in holders]
        for target in range(1, 128):
            owners = [1 for subnets in owned if any(each.contains(target) for each in subnets)]
            self.assertLessEqual(len(owners), 0 if target == 50 else 1)


class ByRecordsTests(AdmissionCase):
    """Registrations where records say who is below whom, and not subnets."""

    OWN = attrs.evolve(OWN, by_records=True)

    def test_below_is_who_says_so(self) -> None:
        """
        Who says that we are its upstream is a downstream and who does not is a peer, whatever
        their ids.

        Scenario: H13
        """
        for bus_id in (CHILD, PEER):
            for is_below in (True, False):
                who = attrs.evolve(applicant(bus_id), is_below=is_below)
                verdict = judge(self.OWN, (), who)
                assert isinstance(verdict, Admit)
                expected = Position.DOWNSTREAM if is_below else Position.PEER
                self.assertIs(verdict.position, expected)

    def test_with_subnets_it_does_not_matter(self) -> None:
        """Where subnets say who is below whom, nobody can say otherwise."""
        verdict = judge(OWN, (), attrs.evolve(applicant(PEER), is_below=True))
        assert isinstance(verdict, Admit)
        self.assertIs(verdict.position, Position.PEER)

    def test_an_upstream_need_not_contain_us(self) -> None:
        """Our upstream may have any id and any subnets; there is still only one."""
        verdict = judge(self.OWN, (), as_upstream(applicant(PEER)))
        assert isinstance(verdict, Admit)
        self.assertIs(verdict.position, Position.UPSTREAM)
        second = judge(self.OWN, (UPSTREAM,), as_upstream(applicant(PEER)))
        self.assert_refused(second, Status.SECOND_UPSTREAM)

    def test_a_node_that_moves(self) -> None:
        """Who is to take the place of the upstream comes as a peer first, whatever it contains."""
        moving = attrs.evolve(self.OWN, may_move=True)
        above = as_upstream(applicant(PEER, 40))
        verdict = judge(moving, (UPSTREAM,), above)
        assert isinstance(verdict, Admit)
        self.assertIs(verdict.position, Position.PEER)
        first = judge(moving, (), above)
        assert isinstance(first, Admit)
        self.assertIs(first.position, Position.UPSTREAM)

    def test_nobody_claims_us_or_another(self) -> None:
        """Subnets around us, and ids that two neighbors would share, are refused all the same."""
        around = attrs.evolve(applicant(CHILD, 20), is_below=True)
        self.assert_refused(judge(self.OWN, (), around), Status.SUBNET_CONFLICT)
        there = registered(applicant(PEER, 8))
        twice = attrs.evolve(applicant(PEER + 1, 8), is_below=True)
        self.assert_refused(judge(self.OWN, (there,), twice), Status.SUBNET_CONFLICT)

    def test_the_flag_of_a_registration(self) -> None:
        """What a registration says of it is read from its flags."""
        for flags in (0, NodeFlag.PROXY, NodeFlag.BELOW, NodeFlag.BELOW | 0x8000):
            request = RegisterRequest(node_flags=int(flags))
            hello = Hello(source=5, nonce=bytes(16), version_min=1, version_max=1, frame_max=4096)
            who = Applicant.of(hello, request, dialled=False)
            self.assertIs(who.is_below, bool(flags & NodeFlag.BELOW))


class PolicyTests(AdmissionCase):
    """Registrations that the policy allows or not."""

    def test_peers_only(self) -> None:
        """A policy is about peers: the links of the tree are nobody's to forbid."""
        own = attrs.evolve(
            OWN,
            record=Record(bus_id=ME),
            policy=(Rule(action=Action.DENY, labels={"region": ["us"]}),),
        )
        address = parse_address("ipv4://10.0.0.1:1")
        for bus_id, region, refused in (
            (PEER, "us", True),
            (PEER, "eu", False),
            (CHILD, "us", False),
        ):
            record = Record(bus_id=bus_id, labels={"region": region})
            who = attrs.evolve(applicant(bus_id), record=record, address=address)
            verdict = judge(own, (), who)
            if refused:
                self.assert_refused(verdict, Status.POLICY_DENIED, "policy[0] denies it")
            else:
                assert isinstance(verdict, Admit)
        upstream = attrs.evolve(
            as_upstream(applicant(REGION, 24)),
            record=Record(bus_id=REGION, labels={"region": "us"}),
            address=address,
        )
        assert isinstance(judge(own, (), upstream), Admit)

    def test_tls(self) -> None:
        """Where TLS is required it is the address of the listening side that counts."""
        own = attrs.evolve(
            OWN, record=Record(bus_id=ME), policy=(Rule(action=Action.REQUIRE_TLS),)
        )
        for text, refused in (("ipv4://10.0.0.1:1", True), ("tls+ipv4://10.0.0.1:1", False)):
            who = attrs.evolve(
                applicant(PEER), record=Record(bus_id=PEER), address=parse_address(text)
            )
            verdict = judge(own, (), who)
            self.assertIs(isinstance(verdict, Admit), not refused)
