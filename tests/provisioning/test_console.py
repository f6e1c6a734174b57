from hypothesis import given
from hypothesis import strategies as st

from provisioning.console import parse

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG4rT3vTt99Ox5kndS4HmgTrKBT8SKzhK4rhGkEVGlCI"
WIREGUARD = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="


def test_the_last_word_counts() -> None:
    report = parse(
        "boot\r\nbackbone-latency: failed run: the tunnel is not verified yet\r\n"
        f"backbone-latency: host-key {KEY}\r\n"
        f"backbone-latency: wireguard-key {WIREGUARD}\r\n"
        "[ 12.1] backbone-latency: ready host=receiver bundle=0123\r\n"
    )
    assert (report.state, report.text) == ("ready", "host=receiver bundle=0123")
    assert report.host_keys == {KEY}
    assert report.wireguard_key == WIREGUARD


def test_cloud_inits_own_report_of_keys_is_read() -> None:
    text = f"-----BEGIN SSH HOST KEY KEYS-----\r\n{KEY} root@ip-10-0-1-10\r\n-----END SSH HOST KEY KEYS-----\r\n"
    assert parse(text).host_keys == {KEY}


def test_keys_out_of_place_or_out_of_form_are_not_keys() -> None:
    report = parse(f"{KEY}\nbackbone-latency: host-key ssh-dss AAAA\nbackbone-latency: wireguard-key short\n")
    assert report.host_keys == set()
    assert report.wireguard_key == ""
    assert report.state == "silent"


@given(st.text(), st.text())
def test_anything_may_stand_on_a_console(before: str, after: str) -> None:
    report = parse(f"{before}\nbackbone-latency: ready host=x\n{after}")
    assert report.state in ("ready", "failed")
    assert all(len(key.split()) == 2 for key in report.host_keys)
