"""Every bound of the protocol with its reason. Units end the name."""

# frames
FRAME_BYTES_MAX = 1_000_000  # the server's max_payload is 1 MiB; leave room for its own headers
SWIM_BYTES_MAX = 2_048  # a probe is a header and three integers
SMALL_FACT_BYTES_MAX = 2_048  # a header, names and an admission; a dead fact carries up to nine of these
SMALL_TASK_BYTES_MAX = 4_096  # a header, a task and a sentence
ASK_BYTES_MAX = 32_768  # TASKS_PER_ASK_MAX lines of at most 53 bytes
GOSSIP_BYTES_MAX = 65_536  # one page of facts
HEADER_BYTES_MAX = 1_024  # subject, key, ids; 300 bytes in practice
RECORD_BYTES_MAX = 700_000  # input, result and history; with its award it must fit into a frame
RECORD_READ_BYTES_MAX = 660_000  # what others wrote must leave room for the history that we add
INPUT_BYTES_MAX = 262_144  # a task's input travels in its record and in its award
OUTPUT_BYTES_MAX = 262_144  # and so does its result
PROGRESS_BYTES_MAX = 1_024  # it travels with every answer to an ask: TASKS_PER_ASK_MAX of them fit into a frame
EVENT_BYTES_MAX = 65_536  # of what an agent publishes: every listener pays for it; more is a reference
DEPTH_MAX = 16  # nesting of free-form values; msgpack alone would take 1,024 levels
TEXT_CHARS_MAX = 512  # reasons, names and messages that are shown to people

# time
CLOCK_SKEW_MS_MAX = 30_000  # how far a frame's date may be from its sender's clock, as far as that is known
CLOCK_OFF_MS = 5_000  # a clock further from the others is off: deadlines are dates, so it gets no work
CLOCK_STEP_MS_MIN = 1_000  # a clock that moves this far at once was set; NTP lets it drift by less
LIFE_MAX = 1 << 53  # any reader's integer holds it; why a life in the future is taken: README, Lives
INCARNATION_JUMP_MAX = 1 << 20  # one refutation a second for twelve days
INCARNATION_MAX = 1 << 53  # any reader's integer holds it
INCARNATION_OWN_MAX = INCARNATION_MAX - INCARNATION_JUMP_MAX  # that a node says of itself: it can still be outbid

# audit
AUDIT_TEXT_CHARS_MAX = 512  # of one value in a record; reasons and names of others are shorter
AUDIT_LINE_BYTES_MAX = 32_768  # of one record: sixteen of the longest texts, and all of it escaped
AUDIT_BATCH_BYTES_MAX = 262_144  # of the lines in one frame; the stream takes a megabyte
AUDIT_BATCH_MAX = 256  # records in one frame: one signature and one synced write of the server for all
AUDIT_TALLIES_MAX = 4_096  # kinds of things that are counted at once; the oldest is recorded early
AUDIT_CHAINS_MAX = 64  # of one node that were set aside and lie there: more is no accident, and needs a look
AUDIT_WAITING_MAX = 65_536  # records that wait for a disk that takes nothing: some 30 MB

# what one node may say
ACCUSATIONS_PER_S_MAX = 64  # of others: it asks twice a second, looks after what it hears, and says each thing twice
ACCUSATIONS_AT_ONCE_MAX = 512  # when it was cut off from half of a large mesh, or its words were held up
NEWS_PER_S_MAX = 16  # of itself: five loads, two refutations, now and then what its agents can do
NEWS_AT_ONCE_MAX = 512  # when its words were held up
DIGESTS_PER_S_MAX = 4  # each may be answered with all we know; honest nodes compare twice a second at most
DIGESTS_AT_ONCE_MAX = 32  # after one comparison of whole views: ROWS_PER_DIGEST_MAX rows each
PAGES_PER_S_MAX = 32  # of facts, some 6 ms each to prove; a bridge carries five a second, and loads of many nodes
PAGES_AT_ONCE_MAX = 256  # a view of 1,000 nodes, and 5,000 deaths with it, are told in 172 of them
ORDERS_PER_S_MAX = 32  # for its operators, some 1 ms each among 1,000 nodes; a loop of commands asks eight a second
ORDERS_AT_ONCE_MAX = 128  # of several commands and dashboards at once, each some questions
REFUSED_PER_S_MAX = 1  # of more orders that are told so: who was told asks nothing for a second
REFUSED_AT_ONCE_MAX = 32  # of those that were on their way by then

# memory
REPLAY_WINDOW_BITS = 1_024  # messages of one life that may arrive out of order
TWIN_MS = 5_000  # what a former life sent so long after the newer one began was not on its way: both go on
TWINS_MAX = 64  # nodes remembered as going on in two lives: a list that a person reads
LIVES_TRACKED_MAX = 8_192  # replay windows kept, the least recently used dropped first
ADMISSION_BYTES_MAX = 512  # three keys and two signatures are 220; 8,192 of them are remembered, proven or not
SEALED_KEPT = 256  # own facts and records whose signature we need not check; they come back within milliseconds
SEALED_BYTES_MAX = 16_384  # of one of them: 4 MB in all
PEERS_MAX = 4_096  # members of one view; more are refused and counted
BRIDGES = 3  # of one region: two may fail at once, and what one has carried the others need not
CARRIED_MAX = 8_192  # facts of other regions that wait to be carried, or were: some of every node of a view
CARRIED_BYTES_MAX = 16_777_216  # of those that wait: 2 kB each; digests mend what had no room
FACTS_PER_DELTA_MAX = 64  # most facts, sealed, are below 1 kB
FACT_BYTES_MAX = 49_152  # one fact must fit into a page together with the page's own envelope
DELTA_BYTES_MAX = 60_000  # sealed facts of one page; the rest of the frame is its header
ROWS_PER_DIGEST_MAX = 800  # 60 bytes each: a fine digest fits into one frame
DIGEST_BUCKETS = 64  # of facts, by hash; two views compare one number for each
TOMBSTONES_MAX = 1_000  # and four more for every node of the view; the oldest go first
ACCUSATIONS_MAX = 8  # sealed accusations in one dead fact; two prove it
BROADCASTS_MAX = 256  # own facts waiting for their repetition
PROBES_OPEN_MAX = 1_024  # probes waiting for an answer; verification comes in bursts
AGENT_SLOTS_MAX = 64  # tasks one agent may work on at once; more is another agent
REQUESTS_OPEN_MAX = 1_024  # calls and submits one agent process may wait for
UNREAD_BYTES_MAX = 4_194_304  # not read by an agent process that goes on asking; 30,000 refusals
TOPICS_PER_AGENT_MAX = 32  # each is a subscription of its node, and stands on its card
EVENTS_WAITING_MAX = 256  # of one agent; what it does not keep up with is dropped, the oldest first
CARD_PROBLEM_CHARS_MAX = 120  # why an agent is not up: one clause, beside its card in the same fact
SCHEMA_BYTES_MAX = 65_536  # of what one capability takes or gives, as JSON; a manifest or a tool has no more
SCHEMA_DEPTH_MAX = 64  # nesting of a schema that another node tells; what it describes is 16 deep
DESCRIPTION_BYTES_MAX = 700_000  # of all schemas in one answer: it is one frame
SIGHTS_MAX = 8_192  # nodes in one answer to who sees whom: 100 bytes each, within a frame; the gone are left out first
CARDS_PER_NODE_MAX = 128  # agents one node may announce
CAPABILITIES_PER_CARD_MAX = 64  # capabilities one agent may announce
SLOTS_MAX = 10_000  # how many things at once one agent may claim to do
INBOX_MAX = 16_384  # inputs waiting for the engine
INBOX_BATCH_MAX = 256  # inputs handled before effects go out
ENDS_WAITING_MAX = 256  # of tasks whose agent has finished, that wait for the store; then agents wait as well
WRITES_WAITING_MAX = 8_192  # writes waiting for the store; ends of tasks always find room
TASKS_WATCHED_MAX = 65_536  # unfinished tasks one node watches as home and guardian
TASKS_ENDED_KEPT = 4_096  # ended tasks remembered, so that a late ask is answered
ENDINGS_KEPT = 16_384  # ends of the mesh's tasks that a node remembers: nothing put over one of them is taken up
ENDING_BYTES_MAX = 65_536  # of an end that is kept whole, to be put back; of a larger one only that it was
ENDINGS_BYTES_MAX = 8_388_608  # of all ends that are kept whole: some thousands
REFUSED_KEPT = 4_096  # values of the bucket that are no records, so that each is told once
CALLS_OPEN_MAX = 4_096  # calls waiting for their reply
TASKS_PER_ASK_MAX = 512  # tasks named in one ask: 40 bytes each
ANSWER_PROGRESS_BYTES_MAX = 400_000  # of all progress in one answer; what has no room waits for another round
INQUIRED_MAX = 8_192  # tasks that one account tells of: 50 bytes each
EVENTS_KEPT = 4_096  # the live stream resumes from these
ATTEMPTS_KEPT = 32  # rows of history kept in a task's record, oldest dropped
RETRIES_KEPT = 8  # ends that were undone, kept in the record; how many there were is counted

# work
DEATHS_MAX = 3  # nodes that may die of one task before it is set aside as poison
HOPS_MAX = 8  # how deep tasks may submit tasks
PRIORITY_MAX = 9  # 0 is least, 5 the default
DEADLINE_S_MAX = 30 * 86_400.0  # a month
EVENTS_PER_S_MAX = 200  # that one agent may publish: each is a signature here and a check at every listener
EVENT_S_MAX = 60.0  # for an agent to handle one event: the next ones wait for it
REASON_CHARS_MAX = 32  # of why an owner gave a task back: one word, and every attempt's stays in the record
PASSED_OVER_MAX = 64  # waiting tasks that nobody with room may have, before those behind them wait as well
ROUNDS_KEPT = 8  # searches for an owner that a task's record tells of, the oldest dropped
ANSWERS_KEPT = 16  # of one such search, the best bids first; 200 bytes each
RESERVED_AT = 4  # nodes that a waiting task is reserved at: within a third of a central queue (tasks.md 3)
RESERVED_OPEN_MAX = 256  # waiting tasks of one capability that one watcher has reserved: the most urgent; others follow
RESERVED_MAX = 1_024  # reservations that one node queues
RESERVED_BYTES_MAX = 65_536  # of a record that travels to four nodes; a larger one waits at its home alone
WHY_CHARS_MAX = 128  # of why a search went the way it did
SPAN_MS_MAX = 31 * 86_400_000  # of what somebody says that something takes: longer than any deadline
WEIGHT_MAX = 1e12  # of prices and scores; a sum of a few of them is still a number
KEEP_MS_MAX = 31_536_000_000  # that an ended task is kept: a year
LEASE_MS_MAX = 600_000  # of an exclusive award
STILL_LEASES = 2 / 3  # so long may a daemon stand still before agents at exclusive work are ended
LISTED_MAX = 100_000  # records one listing may return
