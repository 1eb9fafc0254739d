using System.Globalization;
using System.Text.Json;
using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests.Matrix;

/// <summary>
/// Every method of the contract, by everybody, in every state of a key, over the socket with real uids and groups. What is
/// expected is the table of <c>docs/api.md</c>, which is read here.
/// </summary>
public sealed class PermissionMatrixTests(MatrixFixture matrix) : IClassFixture<MatrixFixture>
{
    // Every row that decides something has a code; counters, which uses change, have one of their own.
    private const string Deciding = """
        SELECT 'stores', hex(row_code) FROM stores UNION ALL SELECT 'members', hex(row_code) FROM members
        UNION ALL SELECT 'keys', hex(row_code) FROM keys UNION ALL SELECT 'versions', hex(row_code) FROM versions
        UNION ALL SELECT 'version_material', hex(row_code) FROM version_material UNION ALL SELECT 'grants', hex(row_code) FROM grants
        UNION ALL SELECT 'credentials', hex(row_code) FROM credentials UNION ALL SELECT 'deleted_keys', hex(row_code) FROM deleted_keys
        UNION ALL SELECT 'root_generations', hex(row_code) FROM root_generations
        UNION ALL SELECT 'notifications', hex(row_code) FROM notifications UNION ALL SELECT 'cursors', hex(row_code) FROM notification_cursors
        """;

    public static TheoryData<string> Cases() => [.. Case.All.Select(one => one.Name)];

    [Fact]
    public void Every_method_of_the_contract_and_of_the_daemon_and_every_row_of_the_table_is_tried()
    {
        Assert.SkipUnless(MatrixFixture.IsPossible, "Needs root: it acts as several accounts (setpriv).");
        var tried = Case.All.Select(one => one.Method).ToHashSet();
        Assert.Equal(matrix.Table.All.Order(), tried.Order());
        Assert.Empty(matrix.Served.Except(tried));
        Assert.Equal(matrix.Table.Rows.Order(), Case.All.SelectMany(one => one.Rows).Distinct().Order());
        Assert.All(matrix.Table.Columns, column => Assert.Contains(Person.All, person => person.OnKey.Concat(person.OnStore).Contains(column)));

        // Open to anybody is what the document says; keys.list answers each with what he may see.
        Assert.Equal(
            matrix.Table.Open.Append("keys.list").Order(),
            Case.All.Where(one => one.About == Subject.None && !one.Method.StartsWith("notifications.", StringComparison.Ordinal)).Select(one => one.Method).Order());
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task A_method_does_for_everybody_in_every_state_what_the_document_says(string name)
    {
        Assert.SkipUnless(MatrixFixture.IsPossible, "Needs root: it acts as several accounts (setpriv).");
        Case tried = Case.All.Single(one => one.Name == name);
        List<string> wrong = [];
        Dictionary<string, HashSet<string>> passed = [];
        string[] states = tried.About == Subject.Key ? MatrixFixture.States : MatrixFixture.States[..1];
        foreach (string state in states)
        {
            ILookup<bool, Person> people = Person.All.ToLookup(person => Expected(tried, person, state) == "ok");
            TriedKey shared = await matrix.SharedAsync(tried.KeyType, state);
            string deleted = (await matrix.SharedAsync("AES256-GCM96", "deleted")).Tag;
            List<string> before = matrix.Database.Rows(Deciding);
            foreach (Person person in people[false])
            {
                string expected = Expected(tried, person, state);
                await SettleAsync();
                long last = matrix.Database.Number("SELECT max(sequence) FROM history");
                string outcome = await OutcomeAsync(tried, person, Fill(tried.Parameters, shared, deleted));
                await SettleAsync();
                List<string> entries = matrix.Database.Rows(string.Create(
                    CultureInfo.InvariantCulture, $"SELECT operation, uid, outcome FROM history WHERE sequence > {last}"));
                string[] entry = IsRecorded(tried, person, expected) ? [$"{tried.Method}|{person.Uid}|{expected}"] : [];
                if (outcome != expected || !entries.SequenceEqual(entry))
                {
                    wrong.Add($"{state}, {person.Name}: {expected} expected; {outcome}; in the history: {string.Join(", ", entries)}");
                }
            }

            Assert.Equal(before, matrix.Database.Rows(Deciding));
            foreach (Person person in people[true])
            {
                TriedKey key = tried.NeedsNewKey ? await matrix.MakeKeyAsync(tried.KeyType, tried.About == Subject.Key ? state : "deleted") : shared;
                string outcome = await OutcomeAsync(tried, person, Fill(tried.Parameters, key, tried.NeedsNewKey ? key.Tag : deleted));
                if (!tried.Passed.Contains(outcome))
                {
                    wrong.Add($"{state}, {person.Name}: allowed; {outcome}");
                }

                _ = (passed.TryGetValue(person.Name, out HashSet<string>? outcomes) ? outcomes : passed[person.Name] = []).Add(outcome);
            }
        }

        Assert.True(wrong.Count == 0, string.Join('\n', wrong));
        Assert.All(passed, of => Assert.True(!tried.Passed.Contains("ok") || of.Value.Contains("ok"), $"{of.Key} never succeeded"));
        TestContext.Current.TestOutputHelper?.WriteLine(
            $"{tried.Name}: {Person.All.Length} people in {states.Length} states, {passed.Count} of them let through");
    }

    /// <summary>Whoever reads the history has what was answered brought into the database.</summary>
    private async Task SettleAsync() => _ = await matrix.As("operator").ResultAsync("history.export", """{"limit":1}""");

    [Fact]
    public async Task What_is_listed_is_what_each_may_see()
    {
        Assert.SkipUnless(MatrixFixture.IsPossible, "Needs root: it acts as several accounts (setpriv).");
        TriedKey key = await matrix.SharedAsync("AES256-GCM96", "enabled");
        foreach (Person person in Person.All)
        {
            Wire wire = matrix.As(person.Name);
            HashSet<string> names = [];
            string after = "";
            do
            {
                JsonElement page = await wire.ResultAsync("keys.list", $$"""{"limit":200{{after}}}""");
                names.UnionWith(page.GetProperty("keys").EnumerateArray().Select(one => one.GetProperty("name").GetString()!));
                after = page.TryGetProperty("next", out JsonElement next) ? $",\"after\":\"{next.GetString()}\"" : "";
            }
            while (after.Length > 0);

            bool mayIt = matrix.Table.Allows(Case.See, person.OnKey);
            bool mayAside = person.IsStoreManager || person.Uid == Person.AnotherKeysManager;
            Assert.Equal((person.Name, mayIt, mayAside), (person.Name, names.Contains(key.Name), names.Contains("aside")));
            Assert.Equal((person.Name, mayIt || mayAside), (person.Name, names.Count > 0));

            string[] stores = [.. (await wire.ResultAsync("stores.list")).GetProperty("stores").EnumerateArray().Select(one => one.GetProperty("name").GetString()!)];
            Assert.Equal((person.Name, person.IsMember || person.IsOperator), (person.Name, stores.Contains(MatrixFixture.Store)));
            Assert.Equal(
                (person.Name, person.IsOperator || person.Uid == Person.AnotherStoresManager), (person.Name, stores.Contains("elsewhere")));
            Assert.Equal((person.Name, person.IsOperator), (person.Name, stores.Contains("default")));
            Assert.Equal(person.IsOperator, (await wire.ResultAsync("system.status")).TryGetProperty("weaknesses", out _));
        }
    }

    [Fact]
    public async Task The_last_manager_of_a_store_goes_only_by_an_operator()
    {
        Assert.SkipUnless(MatrixFixture.IsPossible, "Needs root: it acts as several accounts (setpriv).");
        string store = matrix.NewName();
        string last = $"uid:{Person.Of("store manager").Uid}";
        _ = await matrix.As("operator").ResultAsync("stores.create", $$"""{"name":"{{store}}","manager":"{{last}}"}""");
        List<string> before = matrix.Database.Rows(Deciding);
        foreach ((string method, string role) in new[] { ("members.remove", ""), ("members.add", ",\"role\":\"user\"") })
        {
            string parameters = $$"""{"store":"{{store}}","principal":"{{last}}"{{role}}}""";
            Assert.Equal("forbidden", await matrix.As("store manager").ReasonAsync(method, parameters));
            Assert.Equal(before, matrix.Database.Rows(Deciding));
        }

        Assert.Equal("ok", await matrix.As("operator").ReasonAsync("members.remove", $$"""{"store":"{{store}}","principal":"{{last}}"}"""));
    }

    /// <summary>The document's word; <c>ok</c> for whoever is let through.</summary>
    private string Expected(Case tried, Person person, string state)
    {
        if (!matrix.Served.Contains(tried.Method))
        {
            return "methodNotFound";
        }

        PermissionTable table = matrix.Table;
        bool seesStore = person.IsMember || person.IsOperator;
        return tried.About switch
        {
            Subject.None => "ok",
            Subject.Host => May(person.IsOperator ? [Person.Operator] : []) ? "ok" : "forbidden",
            Subject.Root => May(person.IsRootAdministrator ? [Person.Operator] : []) ? "ok" : "forbidden",
            Subject.Store => May(person.OnStore) ? "ok" : seesStore ? "forbidden" : "notFound",
            Subject.Listing => seesStore ? "ok" : "notFound",
            _ when state == "deleted" || !table.Allows(Case.See, person.OnKey) => "notFound",
            _ => May(person.OnKey) ? "ok" : "forbidden",
        };

        bool May(IEnumerable<string> columns) => tried.Rows.All(row => table.Allows(row, columns));
    }

    /// <summary>Who has no right there leaves no entry, and neither does what only reads.</summary>
    private static bool IsRecorded(Case tried, Person person, string expected) => tried.IsRecorded && expected == "forbidden"
        && (tried.About is Subject.Key or Subject.Store || person.IsOperator);

    private string Fill(string parameters, TriedKey key, string deleted) => "{" + parameters
        .Replace("$key", key.Tag, StringComparison.Ordinal)
        .Replace("$name", key.Name, StringComparison.Ordinal)
        .Replace("$sealed", key.Sealed, StringComparison.Ordinal)
        .Replace("$signed", key.Signed, StringComparison.Ordinal)
        .Replace("$deleted", deleted, StringComparison.Ordinal)
        .Replace("$new", matrix.NewName(), StringComparison.Ordinal)
        .Replace("$store", MatrixFixture.Store, StringComparison.Ordinal) + "}";

    /// <summary>Of the request, or of its one item; on a connection of its own where events may follow.</summary>
    private async Task<string> OutcomeAsync(Case tried, Person person, string parameters)
    {
        await using Wire? own = tried.Method == "notifications.subscribe" ? await matrix.ConnectAnewAsync(person.Name) : null;
        JsonElement answer = await (own ?? matrix.As(person.Name)).CallAsync(tried.Method, parameters);
        return Wire.Reason(answer.TryGetProperty("result", out JsonElement result) && tried.Name.Contains("Batch", StringComparison.Ordinal)
            ? result.GetProperty("items")[0]
            : answer);
    }
}
