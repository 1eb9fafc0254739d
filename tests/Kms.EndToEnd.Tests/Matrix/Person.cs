namespace Kms.EndToEnd.Tests.Matrix;

/// <summary>Somebody who calls, and what he holds: columns of the matrix, and whether he is a member of the store.</summary>
/// <param name="Name">For a failed test's message.</param>
/// <param name="Uid">As which he calls.</param>
internal sealed record Person(string Name, uint Uid)
{
    public const string Operator = "Operator";
    public const string StoreManager = "SM";

    // The document's columns, and what grants.add calls them.
    private static readonly (string Column, string Role)[] s_roles =
        [("M", "manager"), ("E", "encryptor"), ("D", "decryptor"), ("ED", "encryptorDecryptor"), ("R", "reviewer")];

    public bool IsOperator { get; init; }

    public bool IsRootAdministrator { get; init; }

    public bool IsStoreManager { get; init; }

    /// <summary>A plain member, without a right on the keys that are tried.</summary>
    public bool IsPlainMember { get; init; }

    /// <summary>Columns of the roles that he holds on the keys that are tried.</summary>
    public string[] KeyRoles { get; init; } = [];

    /// <summary>The group that holds his roles instead of himself; 0: none.</summary>
    public uint Group { get; init; }

    public bool IsPrimaryGroup { get; init; }

    public uint PrimaryGroup => IsPrimaryGroup ? Group : 20_000;

    public uint[] Groups => Group > 0 && !IsPrimaryGroup ? [Group] : [];

    public string Principal => Group > 0 ? $"gid:{Group}" : $"uid:{Uid}";

    /// <summary>A key role makes a member of him who is none.</summary>
    public bool IsMember => IsStoreManager || IsPlainMember || KeyRoles.Length > 0;

    /// <summary>His columns where it is about a key.</summary>
    public IEnumerable<string> OnKey => IsStoreManager ? [.. KeyRoles, StoreManager] : KeyRoles;

    /// <summary>His columns where it is about a store.</summary>
    public IEnumerable<string> OnStore => (IsStoreManager, IsOperator) switch
    {
        (true, true) => [StoreManager, Operator],
        (true, false) => [StoreManager],
        (false, true) => [Operator],
        _ => [],
    };

    /// <summary>As <c>keys.create</c> takes them.</summary>
    public IEnumerable<string> Grants => KeyRoles.Select(column =>
        $$"""{"principal":"{{Principal}}","role":"{{s_roles.Single(role => role.Column == column).Role}}"}""");

    /// <summary>One for each column, alone, by a group and with another; and those who hold nothing that counts here.</summary>
    public static Person[] All { get; } =
    [
        new("operator", 20_001) { IsOperator = true },
        new("root administrator", 20_002) { IsRootAdministrator = true },
        new("operator and root administrator", 20_003) { IsOperator = true, IsRootAdministrator = true },
        new("store manager", 20_004) { IsStoreManager = true },
        new("M", 20_005) { KeyRoles = ["M"] },
        new("E", 20_006) { KeyRoles = ["E"] },
        new("D", 20_007) { KeyRoles = ["D"] },
        new("ED", 20_008) { KeyRoles = ["ED"] },
        new("R", 20_009) { KeyRoles = ["R"] },
        new("E and D", 20_010) { KeyRoles = ["E", "D"] },
        new("E and R", 20_011) { KeyRoles = ["E", "R"] },
        new("D and R", 20_012) { KeyRoles = ["D", "R"] },
        new("operator and ED", 20_013) { IsOperator = true, KeyRoles = ["ED"] },
        new("store manager and D", 20_014) { IsStoreManager = true, KeyRoles = ["D"] },
        new("store manager by a group", 20_015) { IsStoreManager = true, Group = 21_015 },
        new("M by a group", 20_016) { KeyRoles = ["M"], Group = 21_016 },
        new("E by a group", 20_017) { KeyRoles = ["E"], Group = 21_017 },
        new("D by a group", 20_018) { KeyRoles = ["D"], Group = 21_018 },
        new("ED by his first group", 20_019) { KeyRoles = ["ED"], Group = 21_019, IsPrimaryGroup = true },
        new("R by a group", 20_020) { KeyRoles = ["R"], Group = 21_020 },
        new("plain member", 20_021) { IsPlainMember = true },
        new("manager of another key of the store", AnotherKeysManager) { IsPlainMember = true },
        new("manager of another store", AnotherStoresManager),
        new("stranger", 20_024),
        new("root", 0),
    ];

    public const uint AnotherKeysManager = 20_022;
    public const uint AnotherStoresManager = 20_023;

    public static Person Of(string name) => All.Single(person => person.Name == name);
}
