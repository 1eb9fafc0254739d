using Kms.Client.Protocol;
using Kmsd.Access;

namespace Kmsd.Tests.Access;

public sealed class PermissionMatrixTests
{
    /// <summary>docs/api.md, "The permission matrix": each row with the columns that have a tick.</summary>
    [Theory]
    [InlineData(nameof(KeyAction.None), "")]
    [InlineData(nameof(KeyAction.Manage), "SM M")]
    [InlineData(nameof(KeyAction.SeeVersions), "SM M R")]
    [InlineData(nameof(KeyAction.See), "SM M E D ED R")]
    [InlineData(nameof(KeyAction.Encrypt), "M E ED")]
    [InlineData(nameof(KeyAction.Decrypt), "M D ED")]
    public void On_a_key_each_role_may_what_the_table_says(string action, string columns)
    {
        KeyAction parsed = Enum.Parse<KeyAction>(action);
        string allowed = string.Join(' ', new (string Column, bool IsAllowed)[]
        {
            ("none", PermissionMatrix.Allows(StoreRole.None, parsed) || PermissionMatrix.Allows(KeyRole.None, parsed)),
            ("user", PermissionMatrix.Allows(StoreRole.User, parsed)),
            ("SM", PermissionMatrix.Allows(StoreRole.Manager, parsed)),
            ("M", PermissionMatrix.Allows(KeyRole.Manager, parsed)),
            ("E", PermissionMatrix.Allows(KeyRole.Encryptor, parsed)),
            ("D", PermissionMatrix.Allows(KeyRole.Decryptor, parsed)),
            ("ED", PermissionMatrix.Allows(KeyRole.EncryptorDecryptor, parsed)),
            ("R", PermissionMatrix.Allows(KeyRole.Reviewer, parsed)),
        }.Where(column => column.IsAllowed).Select(column => column.Column));
        Assert.Equal(columns, allowed);
    }

    [Theory]
    [InlineData(nameof(StoreAction.None), "")]
    [InlineData(nameof(StoreAction.ManageMembers), "Operator SM")]
    [InlineData(nameof(StoreAction.CreateKey), "SM")]
    [InlineData(nameof(StoreAction.ListKeys), "SM user")]
    public void On_a_store_each_role_may_what_the_table_says(string action, string columns)
    {
        StoreAction parsed = Enum.Parse<StoreAction>(action);
        string allowed = string.Join(' ', new (string Column, bool IsAllowed)[]
        {
            ("Operator", PermissionMatrix.OperatorMay(parsed)),
            ("none", PermissionMatrix.Allows(StoreRole.None, parsed)),
            ("SM", PermissionMatrix.Allows(StoreRole.Manager, parsed)),
            ("user", PermissionMatrix.Allows(StoreRole.User, parsed)),
        }.Where(column => column.IsAllowed).Select(column => column.Column));
        Assert.Equal(columns, allowed);
    }

    [Fact]
    public void Every_action_has_its_row_here()
    {
        Assert.Equal(["None", "See", "Encrypt", "Decrypt", "Manage", "SeeVersions"], Enum.GetNames<KeyAction>());
        Assert.Equal(["None", "ManageMembers", "CreateKey", "ListKeys"], Enum.GetNames<StoreAction>());
    }

    [Fact]
    public void A_number_that_is_no_role_or_action_allows_nothing()
    {
        Assert.False(PermissionMatrix.Allows((KeyRole)99, KeyAction.See));
        Assert.False(PermissionMatrix.Allows(KeyRole.Manager, (KeyAction)99));
        Assert.False(PermissionMatrix.Allows((StoreRole)99, StoreAction.ListKeys));
        Assert.False(PermissionMatrix.OperatorMay((StoreAction)99));
    }
}
