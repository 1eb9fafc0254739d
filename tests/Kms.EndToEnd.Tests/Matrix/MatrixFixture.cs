using System.Text.Json;
using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests.Matrix;

/// <summary>One daemon, everybody who calls it, and a key in each state.</summary>
public sealed class MatrixFixture : IAsyncLifetime
{
    public const string Store = "shop";

    public static readonly string[] States = ["enabled", "disabled", "pendingDeletion", "deleted"];

    private readonly Dictionary<string, Account> _accounts = [];
    private readonly Dictionary<string, Wire> _wires = [];
    private readonly Dictionary<(string Type, string State), TriedKey> _shared = [];
    private Sqlite? _database;
    private int _lastName;

    /// <summary>Acting as several uids takes root.</summary>
    public static bool IsPossible => Environment.UserName == "root";

    internal Installation Host { get; private set; } = null!;

    internal PermissionTable Table { get; } = PermissionTable.Read();

    internal Sqlite Database => _database ??= new Sqlite(Host.Database);

    internal IReadOnlySet<string> Served { get; private set; } = null!;

    private Daemon Daemon { get; set; } = null!;

    public async ValueTask InitializeAsync()
    {
        if (!IsPossible)
        {
            return;
        }

        Host = await Installation.MakeAsync();
        Host.Set("access", "operators", Uids(person => person.IsOperator));
        Host.Set("root", "administrators", Uids(person => person.IsRootAdministrator));
        Host.Set("limits", "keys_per_store", "100000");
        Daemon = await Host.StartAsync();
        await Task.WhenAll(Person.All.Select(ConnectAsync).ToArray());
        Wire operating = As("operator");
        Served = (await operating.ResultAsync("rpc.discover")).GetProperty("methods").EnumerateArray()
            .Select(method => method.GetProperty("name").GetString()!).ToHashSet();

        _ = await operating.ResultAsync("stores.create", $$"""{"name":"{{Store}}","manager":"uid:{{Person.Of("store manager").Uid}}"}""");
        _ = await operating.ResultAsync("stores.create", $$"""{"name":"elsewhere","manager":"uid:{{Person.AnotherStoresManager}}"}""");
        foreach (Person person in Person.All.Where(person => person.IsStoreManager || person.IsPlainMember))
        {
            _ = await operating.ResultAsync(
                "members.add", $$"""{"store":"{{Store}}","principal":"{{person.Principal}}","role":"{{(person.IsStoreManager ? "manager" : "user")}}"}""");
        }

        _ = await As("store manager").ResultAsync("keys.create", $$"""
            {"name":"aside","store":"{{Store}}","type":"AES256-GCM96","grants":[{"principal":"uid:{{Person.AnotherKeysManager}}","role":"manager"}]}
            """.Trim());
    }

    public async ValueTask DisposeAsync()
    {
        if (!IsPossible)
        {
            return;
        }

        foreach (Wire wire in _wires.Values)
        {
            await wire.DisposeAsync();
        }

        foreach (Account account in _accounts.Values)
        {
            await account.DisposeAsync();
        }

        _database?.Dispose();
        await Daemon.DisposeAsync();
        await Host.DisposeAsync();
    }

    internal Wire As(string person) => _wires[person];

    /// <summary>Another connection of his.</summary>
    internal Task<Wire> ConnectAnewAsync(string person) => _accounts[person].ConnectAsync();

    internal string NewName() => $"new-{++_lastName}";

    /// <summary>The one key of this state that everybody is refused.</summary>
    internal async Task<TriedKey> SharedAsync(string type, string state)
    {
        if (!_shared.TryGetValue((type, state), out TriedKey? key))
        {
            key = await MakeKeyAsync(type, state);
            _shared.Add((type, state), key);
        }

        return key;
    }

    /// <summary>A key of two versions with everybody's grants, brought to a state.</summary>
    internal async Task<TriedKey> MakeKeyAsync(string type, string state)
    {
        Wire manager = As("store manager");
        string name = NewName();
        string grants = string.Join(',', Person.All.SelectMany(person => person.Grants));
        JsonElement made = await manager.ResultAsync("keys.create", $$"""{"name":"{{name}}","store":"{{Store}}","type":"{{type}}","grants":[{{grants}}]}""");
        string tag = made.GetProperty("tag").GetString()!;
        string sealedText = "";
        string signature = "";
        if (type == "AES256-GCM96")
        {
            sealedText = await As("M").EncryptAsync(tag, "A"u8.ToArray());
        }
        else
        {
            signature = (await As("M").ResultAsync("crypto.sign", $$"""{"key":"{{tag}}","message":"QQ=="}""")).GetProperty("signature").GetString()!;
        }

        string key = $$"""{"key":"{{tag}}"}""";
        string confirmed = $$"""{"key":"{{tag}}","confirmName":"{{name}}"}""";
        _ = await manager.ResultAsync("keys.rotate", key);
        _ = state switch
        {
            "disabled" => await manager.ResultAsync("keys.disable", key),
            "pendingDeletion" or "deleted" => await manager.ResultAsync("keys.requestDeletion", confirmed),
            _ => default,
        };
        _ = state == "deleted" ? await manager.ResultAsync("keys.deleteNow", confirmed) : default;
        return new TriedKey(name, tag, sealedText, signature);
    }

    private async Task ConnectAsync(Person person)
    {
        Account account = await Account.StartAsync(Host, person.Uid, person.PrimaryGroup, person.Groups);
        Wire wire = await account.ConnectAsync();
        lock (_accounts)
        {
            _accounts.Add(person.Name, account);
            _wires.Add(person.Name, wire);
        }

        JsonElement seen = await wire.ResultAsync("system.whoAmI");
        Assert.Equal(
            (person.Uid, person.PrimaryGroup, person.IsOperator),
            (seen.GetProperty("uid").GetUInt32(), seen.GetProperty("gid").GetUInt32(), seen.GetProperty("operator").GetBoolean()));
    }

    private static string Uids(Func<Person, bool> which) => string.Join(' ', Person.All.Where(which).Select(person => $"uid:{person.Uid}"));
}

/// <summary>A key that cases are tried on.</summary>
internal sealed record TriedKey(string Name, string Tag, string Sealed, string Signed);
