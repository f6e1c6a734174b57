"""Which doors race: all of them where they may, and else by turns."""

import random

from experiments.doors.roster import QUIET_BLOCKS, DoorRoster, turn_seconds


def roster(count: int, most: int) -> DoorRoster:
    made = DoorRoster(most)
    for number in range(count):
        made.add(f"192.0.2.{number}", "system")
    return made


def test_an_address_is_one_door_whoever_names_it() -> None:
    made = DoorRoster(4)
    first = made.add("192.0.2.1", "system")
    assert first is not None
    assert made.add("192.0.2.1", "9.9.9.9") is None
    assert first.found_by == {"system", "9.9.9.9"}
    assert made.of("192.0.2.1") is first
    assert made.of("192.0.2.2") is None


def test_where_all_may_race_all_do_except_those_without_a_way() -> None:
    made = roster(4, 4)
    made.doors[2].way = False
    assert [door.number for door in made.turn([])] == [0, 1, 3]
    assert not made.takes_turns
    assert not made.doors[2].pending


def test_by_turns_all_race_as_often_and_those_that_lead_stay() -> None:
    made, rng = roster(40, 16), random.Random(1)
    for _turn in range(50):
        # Door 7 leads; what follows it changes.
        order = [7, *rng.sample([number for number in range(40) if number != 7], 39)]
        chosen = made.turn(order if any(door.blocks for door in made.doors) else [])
        assert len(chosen) == 16
        assert [door for door in made.doors if door.racing] == sorted(chosen, key=lambda door: door.number)
        for door in chosen:
            for _block in range(6):
                door.saw(present=True)
    assert made.doors[7].turns >= 49
    turns = [door.turns for door in made.doors if door.number != 7]
    assert min(turns) >= 10
    assert max(turns) - min(turns) <= 12


def test_doors_that_fail_give_way_to_the_others_but_are_tried_again() -> None:
    made = roster(8, 4)
    dead = {0, 1}
    for _turn in range(40):
        for door in made.turn([]):
            for _block in range(QUIET_BLOCKS):
                door.saw(present=door.number not in dead)
    tried = [door.turns for door in made.doors]
    assert all(2 <= tried[number] < min(tried[2:]) for number in dead)
    assert not any(made.doors[number].answers or made.doors[number].pending for number in dead)
    assert all(door.answers for door in made.doors if door.number not in dead)


def test_a_door_that_dies_is_waited_for_a_little_and_then_not() -> None:
    made = roster(2, 2)
    made.turn([])
    door = made.doors[0]
    assert door.pending
    door.saw(present=True)
    for missed in range(1, QUIET_BLOCKS + 1):
        door.saw(present=False)
        assert door.answers == (missed < QUIET_BLOCKS)
    door.saw(present=True)
    assert door.answers


def test_turns_use_up_half_of_the_attempts_at_most() -> None:
    for most in (2, 16, 64, 128):
        for block in (0.1, 10.0, 60.0):
            seconds = turn_seconds(most, 250, 300.0, block)
            assert seconds >= max(60.0, 6 * block)
            assert most * (300.0 / seconds) <= 125.0 + 1e-9
