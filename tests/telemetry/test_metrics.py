from tocsin.telemetry.metrics import Metrics


def test_what_is_counted_is_rendered() -> None:
    metrics = Metrics()
    metrics.messages_total.labels("SMS", "Inbound").inc()
    metrics.entries_total.inc(3)
    metrics.notifications_total.labels("WebHook", "delivered").inc()
    metrics.attempt_seconds.observe(0.004)
    metrics.lanes.set(2)
    metrics.lagging_lanes.set(1)
    metrics.writer_group_size.observe(256)
    metrics.writer_commit_seconds.observe(0.0003)
    metrics.ws_sessions.inc()
    lines = metrics.render().decode().splitlines()
    assert 'tocsin_messages_total{direction="Inbound",type="SMS"} 1.0' in lines
    assert "tocsin_entries_total 3.0" in lines
    assert 'tocsin_notifications_total{outcome="delivered",transport="WebHook"} 1.0' in lines
    assert 'tocsin_attempt_seconds_bucket{le="0.005"} 1.0' in lines
    assert "tocsin_lanes 2.0" in lines
    assert "tocsin_lagging_lanes 1.0" in lines
    assert 'tocsin_writer_group_size_bucket{le="256.0"} 1.0' in lines
    assert 'tocsin_writer_commit_seconds_bucket{le="0.0005"} 1.0' in lines
    assert "tocsin_ws_sessions 1.0" in lines


def test_two_servers_in_one_process_count_apart() -> None:
    first, second = Metrics(), Metrics()
    first.entries_total.inc()
    assert "tocsin_entries_total 1.0" in first.render().decode()
    assert "tocsin_entries_total 0.0" in second.render().decode()
