using System.Globalization;
using Kms.EndToEnd.Tests.StateMachine;

namespace Kmsd.Tests.History;

/// <summary>What an attacker with the <c>sqlite3</c> tool, and no older copy of the file, does to a history.</summary>
/// <param name="What">For a failed test's message.</param>
/// <param name="Statements">SQL, in order.</param>
internal sealed record Tampering(string What, IReadOnlyList<string> Statements)
{
    private const string WithoutProof = "at, scope, store_id, tag, version, operation, principal, uid, pid, unit, outcome, detail, items, context_digest, salt";
    private const string WithoutLink = $"{WithoutProof}, digest, purged_by";
    private const string Content = $"{WithoutProof}, digest, link, purged_by";

    private static readonly string[] s_numbers = ["at", "version", "uid", "pid", "items", "purged_by"];
    private static readonly string[] s_texts = ["scope", "operation", "principal", "unit", "outcome", "detail"];
    private static readonly string[] s_blobs = ["store_id", "tag", "context_digest", "salt", "digest", "link"];

    private static readonly (int Weight, Func<Dice, HistoryShape, Tampering> Make)[] s_ways =
    [
        (8, EditNumber), (8, EditText), (8, EditBlob), (4, TakeColumn), (3, TakeRow), (2, Clear),
        (5, Delete), (3, DeleteAndClose), (3, Cut), (3, CutWithHead),
        (4, Insert), (3, InsertBetween), (3, Swap), (2, Reverse), (2, Rotate),
        (4, Erase), (3, MovePointer), (2, FillErased), (2, ForgePurge), (2, Head),
    ];

    /// <summary>One way, or two or three after each other.</summary>
    public static Tampering Roll(Dice dice, HistoryShape shape)
    {
        int ways = dice.In100(80) ? 1 : 2 + dice.Roll(2);
        Tampering[] all = [.. Enumerable.Range(0, ways).Select(_ => dice.PickWeighted(s_ways)(dice, shape))];
        return new Tampering(string.Join(" + ", all.Select(one => one.What)), [.. all.SelectMany(one => one.Statements)]);
    }

    private static Tampering EditNumber(Dice dice, HistoryShape shape)
    {
        (long row, string column) = (shape.Any(dice), dice.Pick(s_numbers));
        string value = dice.Roll(6) switch
        {
            0 => $"coalesce({column}, 0) + {1 + dice.Roll(1000)}",
            1 => $"coalesce({column}, 0) - 1",
            2 => $"-coalesce({column}, 7)",
            3 => "0",
            4 => dice.Pick([long.MaxValue, long.MinValue, int.MaxValue, -1]).ToString(CultureInfo.InvariantCulture),
            _ => "NULL",
        };
        return Edit(row, column, value);
    }

    private static Tampering EditText(Dice dice, HistoryShape shape)
    {
        (long row, string column) = (shape.Any(dice), dice.Pick(s_texts));
        string value = dice.Roll(9) switch
        {
            0 => $"coalesce({column}, '') || 'x'",
            1 => $"substr({column}, 2)",
            2 => $"upper({column})",
            3 => $"' ' || coalesce({column}, '')",
            4 => $"coalesce({column}, '') || char(0)",
            5 => $"coalesce({column}, '') || char(0) || ', and nobody saw it'",
            6 => $"coalesce({column}, '') || CAST(x'{1 + dice.Roll(255):x2}' AS TEXT)",
            7 => "''",
            _ => "NULL",
        };
        return Edit(row, column, value);
    }

    private static Tampering EditBlob(Dice dice, HistoryShape shape)
    {
        (long row, string column) = (shape.Any(dice), dice.Pick(s_blobs));
        string other = Hex(dice.Bytes(column is "store_id" or "tag" or "salt" ? 16 : 32));
        int at = 1 + dice.Roll(32);
        string value = dice.Roll(6) switch
        {
            0 => $"CAST(substr({column}, 1, {at - 1}) || x'{dice.Roll(256):x2}' || substr({column}, {at + 1}) AS BLOB)",
            1 => $"CAST(coalesce({column}, x'') || x'00' AS BLOB)",
            2 => $"substr({column}, 1, {at - 1})",
            3 => "x''",
            4 => column is "digest" or "link" ? $"zeroblob(32)" : "NULL",
            _ => $"x'{other}'",
        };
        return Edit(row, column, value);
    }

    private static Tampering TakeColumn(Dice dice, HistoryShape shape)
    {
        string column = dice.Pick(s_numbers.Concat(s_texts).Concat(s_blobs).ToArray());
        return Edit(shape.Any(dice), column, $"(SELECT {column} FROM history WHERE sequence = {shape.Any(dice)})");
    }

    private static Tampering TakeRow(Dice dice, HistoryShape shape)
    {
        string columns = dice.Pick([Content, WithoutLink, WithoutProof]);
        (long row, long other) = (shape.Any(dice), shape.Any(dice));
        return new Tampering(
            $"{row} takes {columns.Count(mark => mark == ',') + 1} columns of {other}",
            [$"UPDATE history SET ({columns}) = (SELECT {columns} FROM history WHERE sequence = {other}) WHERE sequence = {row}"]);
    }

    private static Tampering Clear(Dice dice, HistoryShape shape) => Edit(
        shape.Any(dice), string.Join(" = NULL, ", s_numbers.Concat(s_texts).Concat(s_blobs[..4])), "NULL");

    private static Tampering Delete(Dice dice, HistoryShape shape)
    {
        (long from, long to) = shape.Run(dice);
        return new Tampering($"delete {from} to {to}", [$"DELETE FROM history WHERE sequence BETWEEN {from} AND {to}"]);
    }

    private static Tampering DeleteAndClose(Dice dice, HistoryShape shape)
    {
        (long from, long to) = shape.Run(dice);
        return new Tampering(
            $"delete {from} to {to} and close the gap",
            [$"DELETE FROM history WHERE sequence BETWEEN {from} AND {to}", .. Renumber($"sequence > {to}", $"sequence - {to - from + 1}")]);
    }

    private static Tampering Cut(Dice dice, HistoryShape shape)
    {
        long from = dice.In100(10) ? 1 : shape.Any(dice);
        return new Tampering($"cut off from {from}", [$"DELETE FROM history WHERE sequence >= {from}"]);
    }

    private static Tampering CutWithHead(Dice dice, HistoryShape shape)
    {
        long from = Math.Max(2, shape.Any(dice));
        return new Tampering($"cut off from {from}, and the head with it",
        [
            $"DELETE FROM history WHERE sequence >= {from}",
            $"UPDATE history_heads SET sequence = {from - 1}, link = coalesce((SELECT link FROM history WHERE sequence = {from - 1}), link)",
        ]);
    }

    private static Tampering Insert(Dice dice, HistoryShape shape)
    {
        long at = dice.Pick([0L, -1, long.MinValue, long.MaxValue, shape.Last + 1, shape.Last + 2, shape.Last + 1_000_000_000_000]);
        string from = dice.In100(50)
            ? $"SELECT {at}, {Content} FROM history WHERE sequence = {shape.Any(dice)}"
            : $"VALUES ({at}, 0, 'key', NULL, NULL, 1, 'crypto.decrypt', 'uid:0', 0, 1, NULL, 'ok', NULL, 1, NULL, x'{Hex(dice.Bytes(16))}', x'{Hex(dice.Bytes(32))}', x'{Hex(dice.Bytes(32))}', NULL)";
        return new Tampering($"insert {at}", [$"INSERT OR IGNORE INTO history (sequence, {Content}) {from}"]);
    }

    private static Tampering InsertBetween(Dice dice, HistoryShape shape)
    {
        (long at, long from) = (shape.Any(dice), shape.Any(dice));
        return new Tampering($"insert a copy of {from} at {at}, and make room",
        [
            .. Renumber($"sequence >= {at}", "sequence + 1"),
            $"INSERT OR IGNORE INTO history (sequence, {Content}) SELECT {at}, {Content} FROM history WHERE sequence = {(from < at ? from : from + 1)}",
        ]);
    }

    private static Tampering Swap(Dice dice, HistoryShape shape)
    {
        (long one, long other) = (shape.Any(dice), shape.Any(dice));
        return new Tampering($"swap {one} and {other}", Renumber($"sequence IN ({one}, {other})", $"{one} + {other} - sequence"));
    }

    private static Tampering Reverse(Dice dice, HistoryShape shape)
    {
        (long from, long to) = shape.Run(dice);
        return new Tampering($"reverse {from} to {to}", Renumber($"sequence BETWEEN {from} AND {to}", $"{from + to} - sequence"));
    }

    private static Tampering Rotate(Dice dice, HistoryShape shape)
    {
        (long from, long to) = shape.Run(dice);
        return new Tampering(
            $"rotate {from} to {to}", Renumber($"sequence BETWEEN {from} AND {to}", $"iif(sequence = {to}, {from}, sequence + 1)"));
    }

    /// <summary>As a purge does it, and said to be the work of one.</summary>
    private static Tampering Erase(Dice dice, HistoryShape shape)
    {
        (long from, long to) = shape.Run(dice);
        string purge = dice.Roll(4) switch
        {
            0 => "NULL",
            1 => shape.Any(dice).ToString(CultureInfo.InvariantCulture),
            2 => dice.Pick([0L, -1, to + 1, shape.Last, shape.Last + 1, long.MaxValue, long.MinValue]).ToString(CultureInfo.InvariantCulture),
            _ => shape.Purges.Count == 0 ? "sequence + 1" : dice.Pick(shape.Purges).ToString(CultureInfo.InvariantCulture),
        };
        return new Tampering($"erase {from} to {to}, by {purge}",
        [
            $"UPDATE history SET {string.Join(" = NULL, ", s_numbers[..5].Concat(s_texts).Concat(s_blobs[..4]))} = NULL, purged_by = {purge} WHERE sequence BETWEEN {from} AND {to}",
        ]);
    }

    private static Tampering MovePointer(Dice dice, HistoryShape shape)
    {
        long row = shape.Erased.Count == 0 || dice.In100(20) ? shape.Any(dice) : dice.Pick(shape.Erased);
        string purge = dice.Roll(4) switch
        {
            0 => "NULL",
            1 => "purged_by + 1",
            2 => shape.Any(dice).ToString(CultureInfo.InvariantCulture),
            _ => shape.Purges.Count == 0 ? "1" : dice.Pick(shape.Purges).ToString(CultureInfo.InvariantCulture),
        };
        return Edit(row, "purged_by", purge);
    }

    private static Tampering FillErased(Dice dice, HistoryShape shape)
    {
        long row = shape.Erased.Count == 0 ? shape.Any(dice) : dice.Pick(shape.Erased);
        long other = shape.Any(dice);
        string columns = dice.In100(50) ? "operation" : "at, scope, store_id, tag, version, operation, principal, uid, pid, unit, outcome, detail, items, salt, purged_by";
        return new Tampering(
            $"{row}, erased, takes {columns} of {other}",
            [$"UPDATE history SET ({columns}) = (SELECT {columns} FROM history WHERE sequence = {other}) WHERE sequence = {row}"]);
    }

    /// <summary>A purge entry's numbers need no secret; its link does.</summary>
    private static Tampering ForgePurge(Dice dice, HistoryShape shape)
    {
        long row = shape.Any(dice);
        return new Tampering($"{row} becomes a purge",
        [
            $"UPDATE history SET operation = 'history.purge', scope = 'system', tag = NULL, items = {1 + dice.Roll(9)}, context_digest = x'{Hex(dice.Bytes(32))}' WHERE sequence = {row}",
        ]);
    }

    private static Tampering Head(Dice dice, HistoryShape shape) => new("the head", [dice.Roll(6) switch
    {
        0 => $"UPDATE history_heads SET sequence = {shape.Any(dice)}",
        1 => $"UPDATE history_heads SET link = x'{Hex(dice.Bytes(32))}'",
        2 => $"UPDATE history_heads SET row_code = x'{Hex(dice.Bytes(32))}'",
        3 => "UPDATE history_heads SET epoch = epoch + 1",
        4 => "UPDATE history_heads SET mac_generation = mac_generation + 1",
        _ => "DELETE FROM history_heads",
    }]);

    private static Tampering Edit(long row, string column, string value) =>
        new($"{row}: {column} = {value}", [$"UPDATE history SET {column} = {value} WHERE sequence = {row}"]);

    // Over numbers that nobody has, since each is unique at every step.
    private static string[] Renumber(string which, string number) =>
    [
        $"UPDATE history SET sequence = -2000000000000 - ({number}) WHERE {which}",
        "UPDATE history SET sequence = -2000000000000 - sequence WHERE sequence BETWEEN -3000000000000 AND -1999999999000",
    ];

    private static string Hex(byte[] bytes) => Convert.ToHexStringLower(bytes);
}

/// <summary>What a clean history looks like: where it ends, what was erased in it, and by which entries.</summary>
internal sealed record HistoryShape(long Last, IReadOnlyList<long> Erased, IReadOnlyList<long> Purges)
{
    public long Any(Dice dice) => 1 + dice.Roll((int)Last);

    /// <summary>One or several entries.</summary>
    public (long From, long To) Run(Dice dice)
    {
        long from = Any(dice);
        return (from, Math.Min(Last, from + dice.Roll(dice.In100(50) ? 1 : 40)));
    }
}
