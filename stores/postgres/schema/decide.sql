-- Decides the calls of one batch, in their order and at one instant: what core/algorithm/decide.go does, number by number.
--
-- keys      the distinct budgets that the calls draw on, sorted
-- policies  12 numbers for each policy: see the constants below
-- calls     8 numbers for each charge: the key's number, where its policy begins, the mode, how many more charges its call
--           has, how many such calls come in a row, the cost, and of a credit the tick of the take and what that spent
-- clock     what is to be taken for the time, in µs; 0: the server's clock. Only tests set it.
-- patience  for how many ms to wait for a row that somebody else has locked; then it raises lock_not_available
-- careful   not to wait for such rows: the calls that need them are not decided, and all others are
--
-- The answer is the instant in µs and how many calls were admitted, then for every key what its row held before, or one of
-- the marks below. From that the client makes the decisions, by the same arithmetic.
--
-- All numbers are integers below 2^53, their products are kept below 2^63 by dividing before multiplying: an overflow would
-- be an error of the whole batch.
--
-- It must run in a transaction of its own that is READ COMMITTED, or others' changes would make it fail: see "isolation".
CREATE OR REPLACE FUNCTION {{schema}}.decide_1(
	keys bytea[], policies bigint[], calls bigint[], clock bigint, patience integer, careful boolean
) RETURNS text
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET lock_timeout = 0
AS $halt$
#variable_conflict use_column
DECLARE
	-- The modes, the kinds of policy, and the phases of a call of several charges.
	take constant bigint := 0;
	peek constant bigint := 1;
	shadow constant bigint := 2;
	debit constant bigint := 3; -- and 4, credit
	token constant bigint := 0;
	leaky constant bigint := 1;
	period constant bigint := 3; -- and 2, fixed
	sliding constant bigint := 4;
	alone constant int := 0;
	look constant int := 1;
	bind constant int := 2;
	settle constant int := 3;

	most constant bigint := 4503599627370496; -- 2^52, at which debts and counts saturate
	exact constant bigint := 9007199254740991; -- 2^53 - 1

	-- Of every key: its row, as the calls before left it; that of sliding windows has its counts in counts_of, after bases, sizes of them.
	-- times is the present tick, never before the row's last change; stops is where the window ends, or the present
	-- sub-window's number; changes is where the policy of the last change begins, plus 1.
	budgets constant int := cardinality(keys);
	sinces bigint[] := array_fill(0::bigint, ARRAY[budgets]);
	useds bigint[] := sinces;
	wins bigint[] := sinces;
	tills bigint[] := sinces;
	times bigint[] := array_fill(-1::bigint, ARRAY[budgets]);
	stops bigint[] := sinces;
	changes int[] := array_fill(0, ARRAY[budgets]);
	bases int[] := changes;
	sizes int[] := changes;
	counts_of bigint[] := '{}';
	made boolean[] := array_fill(false, ARRAY[budgets]); -- by this call
	sound boolean[] := array_fill(true, ARRAY[budgets]); -- and its calls can be decided
	answers text[] := array_fill('-'::text, ARRAY[budgets]);

	now_us bigint;
	admitted bigint := 0;
	size constant int := cardinality(calls);
	pos int := 1;
	phase int := alone;
	rest int := 0; -- charges of the call that are still to come
	first int := 0;
	fine boolean := true;
	spend boolean := true;

	k int; p int; mode bigint; more int; many bigint; cost bigint; n bigint;
	kind bigint; tick bigint; lim bigint; cap bigint; w bigint; x bigint; n_sub bigint;
	t bigint; u bigint; unit bigint; room bigint; age bigint; back bigint; delta bigint; slot int; base int;
	since_ bigint; used_ bigint; win_ bigint; till_ bigint; row_counts bigint[];
	act boolean; change boolean; ok boolean; fresh boolean;
	j bigint; i bigint; reset bigint; ignored text;
BEGIN
	IF current_setting('transaction_isolation') <> 'read committed' THEN
		RETURN 'isolation';
	END IF;
	-- The function's own setting of it makes this end with the function.
	ignored := set_config('lock_timeout', patience::text, true); -- PERFORM costs more

	-- Lock or make the rows, one after the other in the order of the keys, so that no two batches wait for each other. A row
	-- may vanish, or come, in between.
	FOR k IN 1..budgets LOOP
		LOOP
			IF NOT careful THEN
				SELECT since, used, win, till, counts INTO since_, used_, win_, till_, row_counts
				FROM {{schema}}.budgets WHERE key = keys[k] FOR NO KEY UPDATE;
			ELSE
				SELECT since, used, win, till, counts INTO since_, used_, win_, till_, row_counts
				FROM {{schema}}.budgets WHERE key = keys[k] FOR NO KEY UPDATE SKIP LOCKED;
			END IF;
			IF FOUND THEN
				sinces[k] := since_;
				useds[k] := used_;
				wins[k] := win_;
				tills[k] := till_;
				IF row_counts IS NULL THEN
					answers[k] := since_ || ',' || used_ || ',' || win_ || ',' || till_;
				ELSIF array_ndims(row_counts) = 1 AND array_lower(row_counts, 1) = 1 THEN
					answers[k] := since_ || ',' || used_ || ',' || win_ || ',' || till_ || ',' || array_to_string(row_counts, ',');
					bases[k] := cardinality(counts_of);
					sizes[k] := cardinality(row_counts);
					FOR a IN 1..sizes[k] LOOP -- one by one: || would copy all of them for each key
						counts_of[bases[k] + a] := row_counts[a];
					END LOOP;
				ELSE
					sizes[k] := -1;
				END IF;
				EXIT;
			END IF;
			IF NOT careful THEN
				INSERT INTO {{schema}}.budgets (key, since, used, win, till, expires) VALUES (keys[k], 0, 0, 0, 0, 0)
				ON CONFLICT DO NOTHING;
				made[k] := FOUND;
			ELSIF EXISTS (SELECT FROM {{schema}}.budgets WHERE key = keys[k]) THEN
				sound[k] := false; -- it is locked
			ELSE
				BEGIN
					INSERT INTO {{schema}}.budgets (key, since, used, win, till, expires) VALUES (keys[k], 0, 0, 0, 0, 0)
					ON CONFLICT DO NOTHING;
					made[k] := FOUND;
				EXCEPTION WHEN lock_not_available THEN
					sound[k] := false; -- somebody else is making it
				END;
			END IF;
			EXIT WHEN made[k];
			IF NOT sound[k] THEN
				answers[k] := '~';
				EXIT;
			END IF;
		END LOOP;
	END LOOP;

	-- The clock is read when all is locked: no row was changed later.
	now_us := clock;
	IF clock = 0 THEN
		now_us := extract(epoch FROM clock_timestamp()) * 1000000;
	END IF;

	-- The calls. One of several charges is gone through three times: to see that nothing is amiss with any of its keys, to see
	-- whether all that bind fit, and to spend.
	WHILE pos <= size LOOP
		k := calls[pos];
		p := calls[pos + 1];
		mode := calls[pos + 2];
		more := calls[pos + 3];
		many := calls[pos + 4];
		cost := calls[pos + 5];
		kind := policies[p + 1];
		t := times[k];

		IF t < 0 AND sound[k] THEN
			-- The row as of now. All policies that share a key have the same kind, window and tick.
			tick := policies[p + 2];
			x := policies[p + 7];
			n_sub := policies[p + 8];
			t := now_us / tick;
			since_ := sinces[k];
			IF NOT made[k] THEN
				-- It is a state in all respects, or corrupt. No block is longer than ten years; one that seems to be would lock
				-- the key.
				ok := since_ BETWEEN 0 AND exact AND useds[k] BETWEEN 0 AND most AND wins[k] BETWEEN 0 AND since_
					AND tills[k] BETWEEN 0 AND least(exact, since_ + 315360000000000 / tick);
				IF kind = sliding THEN
					ok := ok AND sizes[k] = n_sub AND useds[k] = 0 AND wins[k] = 0;
					IF ok THEN
						u := 0;
						FOR a IN bases[k] + 1 .. bases[k] + n_sub LOOP
							ok := ok AND counts_of[a] BETWEEN 0 AND most - u;
							EXIT WHEN ok IS NOT TRUE;
							u := u + counts_of[a];
						END LOOP;
					END IF;
				ELSE
					ok := ok AND sizes[k] = 0 AND (kind > leaky OR wins[k] = 0);
				END IF;
				IF ok IS NOT TRUE THEN
					sound[k] := false;
					answers[k] := '?';
				END IF;
			END IF;
			IF sound[k] THEN
				fresh := false;
				IF since_ > t THEN
					IF since_ - t > 10000000 / tick THEN -- more than 10 s ahead of the clock: as one never seen
						fresh := true;
						sinces[k] := 0;
						useds[k] := 0;
						tills[k] := 0;
					ELSE -- the clock stepped back
						t := since_;
					END IF;
				END IF;
				IF tills[k] <= t THEN
					tills[k] := 0;
				END IF;
				IF kind = sliding THEN
					IF sizes[k] = 0 THEN
						bases[k] := cardinality(counts_of);
						FOR a IN 1..n_sub LOOP
							counts_of[bases[k] + a] := 0;
						END LOOP;
						u := 0;
					ELSE -- u is their sum
						i := CASE WHEN fresh THEN t / x - n_sub ELSE since_ / x END;
						j := greatest(i, t / x - n_sub) + 1;
						WHILE j <= t / x LOOP -- these slots still hold what has left
							slot := bases[k] + (j + n_sub) % n_sub + 1;
							u := u - counts_of[slot];
							counts_of[slot] := 0;
							j := j + 1;
						END LOOP;
					END IF;
					useds[k] := u;
					stops[k] := t / x;
				ELSIF kind > leaky THEN
					w := policies[p + 5];
					IF kind = period THEN
						i := -1;
						FOR a IN 9..11 LOOP
							IF policies[p + a] <= t AND t < policies[p + a + 1] THEN
								i := policies[p + a];
								stops[k] := policies[p + a + 1];
							END IF;
						END LOOP;
						IF i < 0 THEN -- the clocks are further apart than the edges that the client sent: it has to send others
							sound[k] := false;
							answers[k] := '@';
						END IF;
					ELSE
						i := t - t % w;
						stops[k] := i + w;
					END IF;
					IF wins[k] <> i THEN
						wins[k] := i;
						useds[k] := 0;
					END IF;
				END IF;
				times[k] := t;
			END IF;
		END IF;

		IF rest = 0 THEN
			phase := alone;
			rest := 1;
			IF more > 0 THEN
				phase := look;
				rest := more + 1;
				first := pos;
				fine := true;
				spend := true;
			END IF;
		END IF;
		rest := rest - 1;

		act := false;
		IF phase = alone THEN
			act := sound[k];
		ELSIF phase = look THEN
			fine := fine AND sound[k];
		ELSIF phase = bind THEN
			act := mode <= peek;
		ELSE
			act := mode > peek OR mode = take AND spend;
		END IF;

		IF act THEN
			-- All in the units of what is used: how much that is, what the charge comes to, how much there is room for.
			u := useds[k];
			cap := policies[p + 4];
			w := 1;
			IF kind <= leaky THEN
				w := policies[p + 5];
				lim := policies[p + 3];
				x := policies[p + 7];
				IF u > cap * w AND u > x THEN -- after a debit, or a limit that is lower by now
					u := x;
				END IF;
				age := t - sinces[k];
				IF u > 0 AND age > 0 THEN
					IF age >= (u - 1) / lim + 1 THEN
						u := 0;
					ELSE
						u := u - age * lim;
					END IF;
				END IF;
			END IF;
			delta := 0;
			change := false;

			IF mode <= shadow THEN
				n := 0; -- how many of these calls are allowed: the first ones
				IF cost <= cap AND tills[k] = 0 THEN
					unit := cost * w;
					room := cap * w - u;
					IF cost = 0 OR mode = peek OR phase = bind THEN
						n := CASE WHEN unit <= room THEN many ELSE 0 END;
					ELSIF unit <= room THEN
						n := least(many, room / unit);
						delta := n * unit;
						change := true;
					END IF;
					IF n < many AND mode <> peek AND policies[p + 6] > 0 THEN
						tills[k] := t + policies[p + 6];
						change := true;
					END IF;
				END IF;
				IF phase = alone THEN
					admitted := admitted + n;
				ELSIF phase = bind AND n = 0 THEN
					spend := false;
				END IF;
			ELSE
				IF phase = alone THEN
					admitted := admitted + 1;
				END IF;
				IF mode = debit THEN
					room := CASE WHEN kind <= leaky THEN x ELSE most END - u;
					delta := CASE WHEN cost > room / w THEN room ELSE cost * w END;
					change := cost > 0 AND (kind <> sliding OR delta <> 0);
				ELSIF kind = token THEN
					-- What of the take has not drained by itself.
					back := CASE WHEN calls[pos + 7] > most / w THEN most ELSE calls[pos + 7] * w END;
					age := t - calls[pos + 6];
					IF back > 0 AND age > 0 THEN
						back := CASE WHEN age >= (back - 1) / lim + 1 THEN 0 ELSE back - age * lim END;
					END IF;
					IF cost <= most / w THEN
						back := least(back, cost * w);
					END IF;
					delta := -least(back, u);
					change := delta <> 0;
				ELSIF kind = sliding THEN
					n_sub := policies[p + 8];
					j := calls[pos + 6] / policies[p + 7];
					IF j <= stops[k] AND j > stops[k] - n_sub THEN
						delta := -least(cost, counts_of[bases[k] + (j + n_sub) % n_sub + 1]);
						change := delta <> 0;
					END IF;
				ELSIF kind > leaky AND wins[k] <= calls[pos + 6] AND calls[pos + 6] < stops[k] THEN
					delta := -least(cost, u);
					change := delta <> 0;
				END IF;
			END IF;

			IF change THEN
				useds[k] := u + delta;
				sinces[k] := t;
				changes[k] := p + 1;
				IF kind = sliding AND delta <> 0 THEN
					IF mode <= debit THEN
						n_sub := policies[p + 8];
						j := stops[k];
					END IF;
					slot := bases[k] + (j + n_sub) % n_sub + 1;
					counts_of[slot] := counts_of[slot] + delta;
				END IF;
			END IF;
		END IF;

		pos := pos + 8;
		IF rest = 0 AND phase <> alone THEN
			IF phase = look AND fine THEN
				phase := bind;
				rest := (pos - first) / 8;
				pos := first;
			ELSIF phase = bind THEN
				phase := settle;
				rest := (pos - first) / 8;
				pos := first;
			ELSIF phase = settle AND spend THEN
				admitted := admitted + 1;
			END IF;
		END IF;
	END LOOP;

	FOR k IN 1..budgets LOOP
		IF changes[k] > 0 THEN
			-- For how many ticks the row counts; 0: it is as one never seen.
			p := changes[k] - 1;
			kind := policies[p + 1];
			t := times[k];
			reset := 0;
			row_counts := NULL;
			used_ := useds[k];
			IF kind = sliding THEN
				n_sub := policies[p + 8];
				base := bases[k];
				row_counts := counts_of[base + 1 : base + n_sub];
				IF used_ > 0 THEN
					j := stops[k];
					WHILE counts_of[base + (j + n_sub) % n_sub + 1] = 0 LOOP
						j := j - 1;
					END LOOP;
					reset := (j + n_sub) * policies[p + 7] - t;
				END IF;
				used_ := 0; -- which the counts tell
			ELSIF used_ > 0 THEN
				IF kind <= leaky THEN
					reset := (used_ - 1) / policies[p + 3] + 1;
				ELSE
					reset := stops[k] - t;
				END IF;
			END IF;
			UPDATE {{schema}}.budgets SET since = t, used = used_, win = wins[k], till = tills[k], counts = row_counts,
				expires = (t + greatest(reset, tills[k] - t)) * policies[p + 2]
			WHERE key = keys[k];
		ELSIF made[k] THEN
			DELETE FROM {{schema}}.budgets WHERE key = keys[k];
		END IF;
	END LOOP;

	RETURN now_us || ' ' || admitted || ' ' || array_to_string(answers, ';');
END
$halt$;
