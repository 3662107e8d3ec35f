//! What the log promises, whatever database is behind it. Each test gets a
//! place to open the log at; to add a database, add a place and a module below.

mod append;
mod clock;
mod concurrency;
mod idempotency;
mod output;
mod proofs;
mod reading;

/// Runs every test at a place of each kind. On one thread: what is sent together
/// then waits together, and so becomes one batch.
macro_rules! conformance {
    ($($room:ident: $($test:ident)*;)*) => {
        mod sqlite {
            $(mod $room {
                $(
                    #[tokio::test]
                    async fn $test() {
                        let place = crate::support::Place::sqlite();
                        crate::conformance::$room::$test(&place).await;
                    }
                )*
            })*
        }

        mod postgres {
            $(mod $room {
                $(
                    #[tokio::test]
                    async fn $test() {
                        let place = crate::support::Place::postgres().await;
                        crate::conformance::$room::$test(&place).await;
                    }
                )*
            })*
        }
    };
}

conformance! {
    append:
        positions_are_gapless_across_refused_writes
        a_refused_request_leaves_its_batch_alone
        later_requests_of_a_batch_see_earlier_ones
        a_stream_that_is_written_must_have_the_expected_version
        a_stream_that_is_only_read_must_have_the_expected_version
        an_activation_is_one_append_over_all_its_agents
        a_refused_activation_appends_nothing
        what_is_too_large_is_refused
        a_command_without_effect_appends_nothing
        what_a_refused_request_would_have_begun_is_not_believed;
    idempotency:
        the_same_request_again_is_answered_as_before
        the_same_request_again_is_answered_as_before_after_a_restart
        another_request_under_the_same_id_is_refused
        two_deliveries_in_one_batch_count_once
        a_refused_request_may_be_sent_again
        event_ids_are_derived_from_the_request
        a_request_sent_again_is_known_beside_new_ones
        a_large_request_sent_again_is_known_beside_new_ones
        a_request_that_fails_in_the_middle_is_known_if_it_was_written_before
        a_stream_that_is_not_new_goes_on_where_it_ended;
    concurrency:
        many_producers_each_get_their_own_acknowledgement
        a_reader_follows_the_head
        a_write_whose_caller_went_away_stands
        closing_commits_what_waits;
    clock:
        recorded_at_never_falls
        a_clock_that_lies_behind_stops_appends
        a_clock_that_jumps_stops_appends
        a_clock_that_was_set_far_back_and_confirmed_stays_confirmed
        time_that_passes_is_no_jump;
    output:
        output_is_stored_once_and_in_order
        output_is_read_by_deployment_behind_the_cursor
        output_of_very_many_deployments_is_read
        output_beyond_its_bounds_is_refused
        output_of_two_is_followed_without_a_gap_while_it_is_written
        output_from_a_moment_on_is_found;
    proofs:
        the_tree_is_that_of_the_events_also_after_a_restart
        the_newest_checkpoint_is_kept
        tiles_fill_at_every_place_of_a_batch
        an_erased_annex_is_gone_and_leaves_the_tree_as_it_was;
    reading:
        everything_is_read_back_as_it_was_written
        a_restart_keeps_everything
        pages_meet
        pages_are_bounded_by_their_bytes
        one_deployments_output_is_read_by_its_bytes
        a_stream_is_read_by_version;
}
