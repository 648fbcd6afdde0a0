"""Current objects: for each class and thread, and closed in order."""

import threading

import pytest

from caffe2py import context


class Place(context.Managed):
    pass


class Room(Place):
    pass


class Always(context.DefaultManaged):
    pass


def test_the_last_one_opened_is_current():
    with Place() as house:
        assert Place.current() is house
        with Room() as kitchen:
            assert Room.current() is Place.current() is kitchen
        assert Place.current() is house
        assert Room.current(required=False) is None


def test_a_default_is_made_once():
    made = Always.current()
    assert Always.current() is made
    with Always() as other:
        assert Always.current() is other
    assert Always.current() is made


def test_a_value_is_taken_as_it_is():
    place = Room()
    assert Place.current(place) is place
    with pytest.raises(AssertionError, match="expected a Room, found"):
        Room.current(Place())


def test_nothing_open():
    assert Place.current(required=False) is None
    with pytest.raises(AssertionError, match="no Place is open"):
        Place.current()


def test_each_thread_has_its_own():
    found = []
    with Place():
        thread = threading.Thread(target=lambda: found.append(Place.current(required=False)))
        thread.start()
        thread.join()
    assert found == [None]


def test_functions_run_in_a_block():
    place = Place()

    @place
    def current(of):
        """What is current."""
        return of.current()

    assert current(Place) is place
    assert current.__doc__ == "What is current."
    assert Place.current(required=False) is None


def test_closed_in_order():
    outer, inner = Place(), Place()
    outer.__enter__()
    inner.__enter__()
    with pytest.raises(AssertionError, match="not the one opened last"):
        outer.__exit__()
    inner.__exit__()
    outer.__exit__()
    with pytest.raises(AssertionError, match="not the one opened last"):
        outer.__exit__()
